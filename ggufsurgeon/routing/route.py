"""A layer path over loaded models, for logits and for generated text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ggufsurgeon.engine.context import Flags, Integers, Results
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.routing.generation import generate
from ggufsurgeon.routing.limits import Limits
from ggufsurgeon.routing.router import opened_router


class Route:
    """One path. Use a router for many paths over the same tokens: they share their states."""

    def __init__(self, sources: Sources, path: LayerPath) -> None:
        self._sources = sources
        self._path = path
        Limits(sources).check(path)

    def logits(self, tokens: Integers, wanted: Flags | None = None) -> Results:
        """The logits of the tokens with `wanted` (all), float32 [n_wanted, n_vocab].

        As `Router.logits`; raises UsageError for no tokens or too many for learned positions.
        """
        self._sources.check_context(len(tokens))
        with opened_router(self._sources, len(tokens)) as router:
            return next(router.logits(tokens, [self._path], wanted))

    def generate(
        self,
        tokens: Integers,
        n_tokens: int,
        sampling: Sampling | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Iterator[int]:
        """Up to `n_tokens` tokens after `tokens`, until one ends the text.

        `progress` advances by the tokens of the prompt.
        """
        return generate(self._sources, self._path, tokens, n_tokens, sampling, progress)


def route(models: Model | Sequence[Model] | Sources, path: LayerPath) -> Route:
    """`path` over one loaded model or several.

    What is outside the blocks is that of the models beside it, unless sources say otherwise.
    Raises RefusedError when routing would not be exact, UsageError when the path is not one
    over these models.
    """
    return Route(Sources.of(models), path)
