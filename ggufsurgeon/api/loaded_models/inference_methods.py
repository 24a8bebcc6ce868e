"""Text from a loaded model along a layer path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.aliasing.aliased_model import AliasedModel
    from ggufsurgeon.aliasing.placement import Placement
    from ggufsurgeon.engine.sampling import Sampling
    from ggufsurgeon.inference.contexts import ContextKey, ContextSettings
    from ggufsurgeon.inference.requests import RequestKind
    from ggufsurgeon.inference.text import GeneratedText


class InferenceMethods(ModelOverRunner):
    """The methods of a loaded model that continue texts and answer requests."""

    def generate(
        self,
        prompt: str,
        path: AnyPath | None = None,
        *,
        max_tokens: int = 128,
        sampling: Sampling | None = None,
        routed: bool = False,
        on_text: Callable[[str], object] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> GeneratedText:
        """Continue `prompt` by up to `max_tokens` tokens along a layer path.

        The path is run over the weights that are loaded, as the patched file would be; where that
        cannot be, or with `routed`, it is routed through the unmodified model, which is slower.
        `on_text` is called with each piece of text as it comes; `progress` is that of the prompt.
        Raises UsageError for a model
        that does not continue texts, RefusedError for a path that cannot be run exactly.
        """
        from ggufsurgeon.engine.sampling import Sampling
        from ggufsurgeon.inference.text import generate_text

        return self._runner.run(
            generate_text,
            self._models,
            self._over(path),
            prompt.encode("utf-8", "surrogateescape"),
            max_tokens,
            sampling or Sampling(),
            self._devices,
            routed,
            progress=progress,
            on_result=on_text,
        )

    def prepare(
        self,
        kind: RequestKind,
        path: AnyPath | None = None,
        *,
        name: str = "",
        settings: ContextSettings | None = None,
    ) -> tuple[Placement, ...]:
        """Load the model and make the context under `name`, as the first request would.

        The devices of the weights and the cache of each position are returned. Raises as `request`.
        """
        from ggufsurgeon.inference.requests import prepare

        return self._runner.run(prepare, kind, self._context(kind, path, settings), name)

    def request(
        self,
        kind: RequestKind,
        arguments: Mapping[str, Any],
        path: AnyPath | None = None,
        *,
        name: str = "",
        settings: ContextSettings | None = None,
        has_usage: bool = False,
        on_chunk: Callable[[dict[str, Any]], object] | None = None,
    ) -> dict[str, Any] | None:
        """Answer a request in the form of OpenAI's API along a layer path.

        `arguments` are those of the method of `llama_cpp.Llama` that `kind` stands for; with
        `stream` its chunks go to `on_chunk`, with `has_usage` a last one that counts the tokens,
        and None is returned. A context is kept under each
        `name`, so that what a conversation shares with the one before is not run again. Raises
        UsageError for a request that the model cannot take, RefusedError for a path of which no
        exact file exists, AliasingUnavailableError where aliased models cannot be.
        """
        from ggufsurgeon.inference.requests import Request, answer

        context = self._context(kind, path, settings)
        request = Request(kind, context, name, dict(arguments), has_usage)
        return self._runner.run(answer, request, on_result=on_chunk)

    def _context(
        self, kind: RequestKind, path: AnyPath | None, settings: ContextSettings | None
    ) -> ContextKey:
        from ggufsurgeon.inference.contexts import ContextKey, ContextSettings
        from ggufsurgeon.inference.requests import RequestKind

        has_embeddings = kind is RequestKind.EMBEDDING
        chosen = settings or ContextSettings()
        return ContextKey(self._models, self._over(path), self._devices, chosen, has_embeddings)

    def aliased(self, path: AnyPath) -> AliasedModel:
        """The model of a layer path over the weights of this one, in this process.

        Nothing is read and nothing is copied but what a patch would change. Its method `llama`
        makes a `llama_cpp.Llama`, for chats, sampling, grammars and sessions. Any number of paths
        may be used side by side; each decodes while no other one does. They are freed with this
        model. Raises UsageError for a model that a worker process has loaded, RefusedError for a
        path of which no exact file exists, AliasingUnavailableError where aliased models cannot be.

        >>> import ggufsurgeon as gs
        >>> with gs.load("fixtures/stories260K.gguf", in_process=True) as model:
        ...     llama = model.aliased(gs.repeat("1:3")).llama(n_ctx=256)
        ...     told = llama.create_completion("Once upon a time", max_tokens=5, temperature=0)
        >>> told["choices"][0]["text"]
        ', there was a little'
        """
        from ggufsurgeon.aliasing.aliased_model import alias
        from ggufsurgeon.workers.runner import InProcess

        if not isinstance(self._runner, InProcess):
            raise UsageError(
                "an aliased model is an object of the process that has loaded its source",
                hint="Load the source with in_process=True.",
            )
        return alias(self._models.loaded(self._runner.session, self._devices), path)
