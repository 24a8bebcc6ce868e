"""What can be composed over one model: the layer paths of compositions, each made once. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.composition import compose
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.candidates import Composition


class CompositionPaths:
    """The layer paths of compositions over a model of `n_blocks`."""

    def __init__(self, n_blocks: int, can_be_used: Callable[[LayerPath], bool]) -> None:
        self.n_blocks = n_blocks
        self._can_be_used = can_be_used
        self._base = LayerPath.identity(n_blocks)
        self._known: dict[Composition, LayerPath] = {}
        self._usable: dict[Composition, LayerPath | None] = {}

    def of(self, composition: Composition) -> LayerPath:
        """The path of a composition. Raises UsageError where nothing is left of the model."""
        if composition not in self._known:
            self._known[composition] = compose(self.n_blocks, composition)
        return self._known[composition]

    def usable(self, composition: Composition) -> LayerPath | None:
        """The path of a composition that leaves a model, which is another one and can be used."""
        if composition not in self._usable:
            self._usable[composition] = self._if_usable(composition)
        return self._usable[composition]

    def _if_usable(self, composition: Composition) -> LayerPath | None:
        try:
            path = self.of(composition)
        except UsageError:
            return None
        return path if path != self._base and self._can_be_used(path) else None

    def is_possible(self, composition: Composition) -> bool:
        """Whether a composition has a `usable` path."""
        return self.usable(composition) is not None
