"""The patched model that a companion is re-indexed for, as blocks of the companion's own model."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.architectures.outside import is_before, is_behind
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels
from ggufsurgeon.rules.block_names import block_of


@dataclass(frozen=True)
class Target:
    """A patched model, and which of its parts are of the companion's model."""

    path: LayerPath
    """Its blocks, with MTP blocks behind them."""
    n_mtp: int
    """Number of MTP blocks in the path."""
    header_sha256: str
    number: int = 0
    """The number of the companion's model in the path."""
    models: RecordedModels | None = None
    """All models of a path over several."""
    file: GgufFile | None = None
    """The patched file, where it is given."""

    @property
    def blocks(self) -> tuple[int | None, ...]:
        """The block of the companion's model at each position; None for one of another model."""
        steps = self.path.steps
        return tuple(step.block if step.source == self.number else None for step in steps)

    @property
    def trunk(self) -> tuple[int | None, ...]:
        """`blocks` without MTP blocks."""
        return self.blocks[: len(self.path) - self.n_mtp]

    @property
    def own_steps(self) -> LayerPath:
        """The steps whose blocks are of the companion's model."""
        return LayerPath(step for step in self.path.steps if step.source == self.number)

    @property
    def has_embeddings(self) -> bool:
        """Whether the token embeddings are those of the companion's model."""
        return self.models is None or self.models.outside.embeddings == self.number

    def has(self, name: str, architecture: str) -> bool:
        """Whether a tensor that is in no block is that of the companion's model.

        What belongs to neither side of the blocks is the same in all models.
        """
        if self.models is None or block_of(name) is not None:
            return True
        if is_before(name, architecture):
            return self.has_embeddings
        return not is_behind(name, architecture) or self.models.outside.output == self.number
