"""The models that a path over several uses, and the path over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.mixtures.joining import Joined, join
from ggufsurgeon.planning.resolving import over_trunks
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.mixtures.outside_sources import OutsideTensor, equal_tensors, outside_tensors
from ggufsurgeon.rules.mixtures.several_models import SeveralModels
from ggufsurgeon.write_plan import CopySpan


@dataclass(frozen=True)
class Mixed:
    """The models that are used, model 0 among them, and the path over all that there are."""

    given: tuple[GgufFile, ...]
    """All models, whether they are used or not."""
    blocks: Mapping[int, Blocks]
    """Those of the models that are used, by their indices."""
    trunk: LayerPath
    outside: OutsideBlocks

    @property
    def used(self) -> Mapping[int, GgufFile]:
        """The models that are used, by their indices."""
        return {n: self.given[n] for n in self.blocks}

    @cached_property
    def rules(self) -> SeveralModels:
        """Those of the models that are used, numbered one behind the other.

        Raises RefusedError where their blocks cannot be in one file.
        """
        return SeveralModels(
            tuple(self.used.values()), tuple(self.blocks.values()), self._compact_outside
        )

    @property
    def compact(self) -> LayerPath:
        """The path over the models that are used, numbered one behind the other."""
        new = {index: n for n, index in enumerate(self.blocks)}
        return LayerPath(step.at(new[step.source], step.block) for step in self.trunk.steps)

    @property
    def whole(self) -> LayerPath:
        """The path, with the MTP blocks of the model of the output behind it."""
        source = self.outside.output
        blocks = self.blocks[source]
        tail = (BlockRef(source, n) for n in range(blocks.n_trunk, len(blocks)))
        return LayerPath((*self.trunk.steps, *tail))

    def join(self) -> Joined:
        """The models as one. Raises RefusedError where they do not fit together."""
        outside = outside_tensors(self.given, self.outside, self._of_blocks)
        return join(
            self.given, self.blocks, self.rules.header, outside, self.whole, self.outside.output
        )

    def equal_data(self) -> Iterator[tuple[CopySpan, CopySpan, str]]:
        """Data that must be equal, and the name of their tensor, as `PatchPlan.equal_data`."""
        for one, other in equal_tensors(self.given, self._of_blocks):
            yield self._span(one), self._span(other), one.name

    @property
    def _of_blocks(self) -> list[int]:
        """The models whose blocks run."""
        return sorted({step.source for step in self.trunk.steps})

    @property
    def _compact_outside(self) -> OutsideBlocks:
        sides = (self.outside.embeddings, self.outside.output, self.outside.tokenizer)
        return OutsideBlocks(*map(list(self.blocks).index, sides))

    def _span(self, tensor: OutsideTensor) -> CopySpan:
        file = self.given[tensor.source]
        n_before = sum(len(each.files) for each in self.given[: tensor.source])
        place, n_bytes = file.place(tensor.tensor), file.layout.tensor_n_bytes[tensor.tensor]
        return CopySpan(n_before + place.file, place.offset_in_file, n_bytes)


def mix(
    source: GgufFile, path: AnyPath, others: Sequence[GgufFile], outside: OutsideBlocks | None
) -> Mixed:
    """The models that a path over `source` and `others` uses.

    Raises UsageError for a path, or parts outside the blocks, of models or blocks that are not
    there.
    """
    given = (source, *others)
    blocks = tuple(find_blocks(file) for file in given)
    trunk = over_trunks(path, blocks)
    outside = outside or OutsideBlocks.beside(trunk)
    sides = {outside.embeddings, outside.output, outside.tokenizer}
    if not sides <= set(range(len(given))):
        raise UsageError(
            f"there is no model {max(sides, key=abs)} to take embeddings, output or tokenizer "
            f"from: {len(given)} are given, counted from 0"
        )
    used = sorted({0, *sides, *(step.source for step in trunk.steps)})
    return Mixed(given[: used[-1] + 1], {n: blocks[n] for n in used}, trunk, outside)
