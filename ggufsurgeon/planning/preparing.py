"""A new file without the record of its patch: tensors and metadata that follow from the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.padding import PaddingRange
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.assembly import assemble, new_header, with_filler
from ggufsurgeon.planning.naming import descriptive_pairs
from ggufsurgeon.planning.new_tensors.scaling import scaling_notes
from ggufsurgeon.planning.new_tensors.strengths import Scales, strength_notes, with_scales
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor, place_tensors
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.rules.mtp_blocks import mtp_notes
from ggufsurgeon.rules.whole_models.reader_limits import alignment_notes
from ggufsurgeon.write_plan import WritePlan


@dataclass(frozen=True)
class PreparedFile:
    """A file with the blocks of `path` over a model, or over several that are joined as one."""

    model: GgufFile
    blocks: Blocks
    path: LayerPath
    """With MTP blocks."""
    edits: Sequence[Edit]
    scales: Scales
    tensors: tuple[TensorInfo, ...]
    pairs: tuple[KeyValue, ...]
    """Pairs that the edits change, and pairs that describe the file."""

    @property
    def chosen(self) -> Sequence[OutputTensor]:
        """Where the data of `tensors` come from."""
        return self.scales.tensors

    def finished(
        self, record: Sequence[KeyValue], kept: Sequence[PaddingRange] = ()
    ) -> tuple[Header, WritePlan]:
        """The header with the record of the patch, and the plan of the file.

        `kept` is what is kept of the model besides tensors.
        """
        pairs = with_filler(self.model, (*self.pairs, *record), self.tensors)
        head = new_header(self.model.header, pairs, self.tensors)
        return head, assemble(self.model, head, self.chosen, kept)

    def notes(self, factors: Mapping[str, float]) -> Iterator[str]:
        """Facts about the new file, of which it is the subject; `factors` multiply its weights."""
        yield from dict.fromkeys(edit.note for edit in self.edits if edit.note)
        yield from scaling_notes(factors)
        yield from strength_notes(self.path, self.scales)
        has_mtp_tensors = bool(self.blocks.of_block[-1])
        yield from mtp_notes(self.model.header, self.blocks.n_mtp, has_mtp_tensors)
        yield from alignment_notes(self.model.header)


def prepare_file(
    model: GgufFile,
    blocks: Blocks,
    path: LayerPath,
    chosen: Sequence[OutputTensor],
    edits: Sequence[Edit],
    named: LayerPath,
    name: str | None,
) -> PreparedFile:
    """Prepare a file with the tensors `chosen`.

    `named` is the path by which the file is called unless it is given a name. Raises RefusedError
    as `with_scales`.
    """
    scales = with_scales(model, blocks, chosen, path)
    tensors = place_tensors(model, scales.tensors)
    described = descriptive_pairs(model.header, tensors, named, name)
    pairs = (*(edit.pair for edit in edits), *described)
    return PreparedFile(model, blocks, path, edits, scales, tensors, pairs)
