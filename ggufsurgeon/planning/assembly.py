"""A new file from the pairs and tensors that it has: its header, its filler, and its plan."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.layout import pad
from ggufsurgeon.container.padding import PaddingRange
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor, data_spans
from ggufsurgeon.planning.provenance import filler_pair, is_left_out, shortest_filler
from ggufsurgeon.write_plan import CopySpan, SourceFile, WritePlan, ZeroSpan, coalesce


def with_filler(
    source: GgufFile, pairs: Sequence[KeyValue], tensors: tuple[TensorInfo, ...]
) -> tuple[KeyValue, ...]:
    """The new pairs of a file, and the filler that they require."""
    order, data_start = source.header.byte_order, source.layout.data_start
    shortest = new_header(source.header, (*pairs, shortest_filler(order)), tensors)
    return (*pairs, filler_pair(len(serialize_header(shortest)), data_start, order))


def new_header(
    header: Header, pairs: Sequence[KeyValue], tensors: tuple[TensorInfo, ...]
) -> Header:
    """The header with new pairs in the place of those that they replace, and the others last.

    Keys that record an earlier patch, and split keys, are left out.
    """
    after = {pair.key: pair for pair in pairs}
    kept = [
        after.pop(pair.key, pair)
        for pair in header.pairs
        if pair.key in after or not is_left_out(pair.key)
    ]
    return Header(header.version, header.byte_order, (*kept, *after.values()), tensors)


def assemble(
    source: GgufFile, head: Header, chosen: Sequence[OutputTensor], kept: Sequence[PaddingRange]
) -> WritePlan:
    """The plan of a file with this header, these tensors, and what is kept of the source."""
    header = serialize_header(head)
    padding = ZeroSpan(pad(len(header), source.header.alignment) - len(header))
    copied = (CopySpan(0, *found) for found in kept)
    spans = coalesce((padding, *data_spans(source, chosen), *copied))
    return WritePlan(source_files(source), header, spans)


def source_files(model: GgufFile) -> tuple[SourceFile, ...]:
    """The file of a model, or its shards, as the sources of a write plan."""
    return tuple(
        SourceFile(str(file.path), file.layout.n_bytes, file.header_n_bytes, file.header_sha256)
        for file in model.files
    )
