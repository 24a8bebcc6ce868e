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
from ggufsurgeon.planning.joining import Joined, join
from ggufsurgeon.planning.resolving import over_trunks
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.outside_sources import OutsideTensor, equal_tensors, outside_tensors
from ggufsurgeon.rules.several_models import SeveralModels
from ggufsurgeon.write_plan import CopySpan


@dataclass(frozen=True)
class Mixed:
    """The models that are used, model 0 among them, and the path over all that there are."""

    indices: tuple[int, ...]
    """Their indices in the path."""
    files: tuple[GgufFile, ...]
    blocks: tuple[Blocks, ...]
    trunk: LayerPath
    outside: OutsideBlocks

    @cached_property
    def rules(self) -> SeveralModels:
        """Raises RefusedError where blocks of these models cannot be in one file."""
        return SeveralModels(self.files, self.blocks, self._compact_outside)

    @property
    def by_index(self) -> Mapping[int, GgufFile]:
        """The files by their indices in the path."""
        return dict(zip(self.indices, self.files, strict=True))

    @property
    def compact(self) -> LayerPath:
        """The path over the models that are used, numbered one behind the other."""
        return self._compacted(self.trunk)

    @property
    def whole(self) -> LayerPath:
        """The path, with the MTP blocks of the model of the output behind it."""
        steps = self.rules.with_mtp(self.compact).steps
        return LayerPath(
            BlockRef(self.indices[step.source], step.block, step.strength) for step in steps
        )

    def join(self) -> Joined:
        """The models as one. Raises RefusedError where they do not fit together."""
        path = self.rules.with_mtp(self.compact)
        outside = outside_tensors(self.files, self._compact_outside, self._of_blocks)
        mtp_of = self._compact_outside.output
        return join(self.files, self.blocks, self.rules.header, outside, path, mtp_of)

    def equal_data(self) -> Iterator[tuple[CopySpan, CopySpan, str]]:
        """Data that must be equal, and the name of their tensor, as `PatchPlan.equal_data`."""
        for one, other in equal_tensors(self.files, self._of_blocks):
            yield self._span(one), self._span(other), one.name

    @property
    def _of_blocks(self) -> list[int]:
        """The models whose blocks run."""
        return sorted({step.source for step in self.compact.steps})

    @property
    def _compact_outside(self) -> OutsideBlocks:
        sides = (self.outside.embeddings, self.outside.output, self.outside.tokenizer)
        return OutsideBlocks(*map(self.indices.index, sides))

    def _compacted(self, path: LayerPath) -> LayerPath:
        new = {index: n for n, index in enumerate(self.indices)}
        return LayerPath(
            BlockRef(new[step.source], step.block, step.strength) for step in path.steps
        )

    def _span(self, tensor: OutsideTensor) -> CopySpan:
        file = self.files[tensor.source]
        place, n_before = (
            file.place(tensor.tensor),
            sum(len(each.files) for each in self.files[: tensor.source]),
        )
        n_bytes = file.layout.tensor_n_bytes[tensor.tensor]
        return CopySpan(n_before + place.file, place.offset_in_file, n_bytes)


def mix(
    source: GgufFile, path: AnyPath, others: Sequence[GgufFile], outside: OutsideBlocks | None
) -> Mixed:
    """The models that a path over `source` and `others` uses.

    Raises UsageError for a path, or parts outside the blocks, of models or blocks that are not
    there.
    """
    files = (source, *others)
    blocks = tuple(find_blocks(file) for file in files)
    trunk = over_trunks(path, blocks)
    outside = outside or OutsideBlocks.beside(trunk)
    sides = {outside.embeddings, outside.output, outside.tokenizer}
    if not sides <= set(range(len(files))):
        raise UsageError(
            f"there is no model {max(sides, key=abs)} to take embeddings, output or tokenizer "
            f"from: {len(files)} are given, counted from 0"
        )
    used = tuple(sorted({0, *sides, *(step.source for step in trunk.steps)}))
    return Mixed(
        used,
        tuple(files[n] for n in used),
        tuple(blocks[n] for n in used),
        trunk,
        outside,
    )
