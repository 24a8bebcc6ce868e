"""`Llama` of llama-cpp-python and the classes it is made of, for a model that is loaded already.

It is imported on use, since it needs llama_cpp at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from llama_cpp import Llama, _internals
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from ggufsurgeon.engine.high_level.templates import TEMPLATES
from ggufsurgeon.engine.installation.library import llama_cpp, log_read_by
from ggufsurgeon.engine.model import Model, failure
from ggufsurgeon.engine.native_objects.native import NativeObject
from ggufsurgeon.engine.stopping import check_stop, set_abort_callback
from ggufsurgeon.engine.tokenizing import read_tokens


class CountingLlama(Llama):  # type: ignore[misc]
    """`Llama` that counts the tokens of its last request, and checks those of the prompt."""

    n_prompt = 0
    """Tokens of the prompt."""
    n_generated = 0
    """Tokens of the answer, without the one that ends it."""

    def generate(self, tokens: Sequence[int], *arguments: Any, **options: Any) -> Iterator[int]:
        """The tokens of the answer. Raises ValueError for a prompt that cannot be continued."""
        if len(tokens) == 0:
            raise ValueError("the prompt has no tokens, and this model adds none: write something")
        if not all(0 <= token < self.n_vocab() for token in tokens):
            raise ValueError(f"prompt: the tokens of this model are 0 to {self.n_vocab() - 1}")
        self.n_prompt, self.n_generated = len(tokens), 0
        for token in super().generate(tokens, *arguments, **options):
            if not llama_cpp().llama_vocab_is_eog(self._model.vocab, token):
                self.n_generated += 1
            yield token


class IsolatedTemplate:
    """An object with the interface of a jinja2 template that is rendered in another process."""

    def __init__(self, source: str) -> None:
        self._source = source

    def render(self, **values: Any) -> str:
        """The text that the template makes. Raises TemplateFaultError."""
        functions = ("raise_exception", "strftime_now")  # the process has its own
        return TEMPLATES.render(
            self._source, {key: value for key, value in values.items() if key not in functions}
        )


class IsolatedFormatter(Jinja2ChatFormatter):  # type: ignore[misc]
    """The prompts of a file's chat template, which is neither compiled nor rendered here."""

    def __init__(self, template: str, **options: Any) -> None:
        super().__init__("", **options)
        self._environment = IsolatedTemplate(template)


class LoadedLlamaModel(_internals.LlamaModel):  # type: ignore[misc]
    """A model that others free. Its native parts raise UsageError once they have."""

    def __init__(self, loaded: Model, *, path_model: str, params: Any, verbose: bool) -> None:
        self.loaded = loaded
        self.path_model, self.params, self.verbose = path_model, params, verbose
        self._exit_stack = ExitStack()
        self.sampler = None
        self.custom_samplers: list[Any] = []

    @property
    def model(self) -> Any:
        """The native model."""
        return self.loaded.handle

    @property
    def vocab(self) -> Any:
        """The native vocabulary."""
        return llama_cpp().llama_model_get_vocab(self.loaded.handle)

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        """Tokens of a text of any length. Raises ValueError for one that cannot be read."""
        tokens = read_tokens(self.vocab, text, add_special=add_bos, parse_special=special)
        if tokens is None:
            raise ValueError("the tokenizer of the model cannot read the text")
        return [int(token) for token in tokens]


class GuardedLlamaContext(_internals.LlamaContext):  # type: ignore[misc]
    """A context that is freed before its model, and runs when no other one over it does."""

    def __init__(self, *, model: LoadedLlamaModel, params: Any, verbose: bool) -> None:
        self._native: NativeObject | None = None
        loaded = model.loaded
        set_abort_callback(params, llama_cpp().ggml_abort_callback)
        try:
            with log_read_by(loaded.use.read):
                super().__init__(model=model, params=params, verbose=verbose)
        except ValueError:
            problem = f"llama.cpp cannot make a context of {params.n_ctx} tokens"
            raise failure(loaded.path, problem) from None

    @property
    def ctx(self) -> Any:
        """The native context. Raises UsageError once it was freed."""
        return None if self._native is None else self._native.handle

    @ctx.setter
    def ctx(self, handle: Any) -> None:
        loaded = self.model.loaded
        when_freed = f"the context of {loaded.path} is closed"
        self._native = NativeObject(handle, llama_cpp().llama_free, when_freed, loaded.native)

    @property
    def memory(self) -> Any:
        """The native memory of the context."""
        return llama_cpp().llama_get_memory(self.ctx)

    @memory.setter
    def memory(self, _handle: Any) -> None:
        """Keep nothing: it goes with the context."""

    def close(self) -> None:
        """Free the native context, once."""
        if self._native is not None:
            self._native.free()

    def decode(self, batch: Any) -> None:
        """Run a batch. Raises RuntimeError with llama.cpp's status."""
        self._run(super().decode, batch)

    def encode(self, batch: Any) -> None:
        """Run a batch through an encoder. Raises RuntimeError with llama.cpp's status."""
        self._run(super().encode, batch)

    def _run(self, run: Any, batch: Any) -> None:
        try:
            with self.model.loaded.native.lock:
                run(batch)
        except RuntimeError:
            check_stop()
            raise
