"""A model whose MTP blocks are left out or replaced, as a file of its own that can be patched.

It is the source with other blocks behind its trunk. A patch of it is the second of two, so that
`restore` undoes both. Besides the keys of each patch, its record has

    layer_path.mtp    string  "none" where MTP blocks were left out, or the SHA-256 of the header,
                              without padding, of the file that they were taken from
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ggufsurgeon.architectures.table import UNINDEXED_ARRAYS, find_architecture
from ggufsurgeon.architectures.vocabulary.arrays import check_arrays_known, reindexed
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value, read_array_prefix
from ggufsurgeon.container.layout import Layout
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.assembly import assemble, new_header, with_filler
from ggufsurgeon.planning.mtp_change.donors import check_donor, pairs_of_donor
from ggufsurgeon.planning.naming import descriptive_pairs
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor, lost_padding, place_tensors
from ggufsurgeon.planning.originals.source_shards import record_of_shards, shards_of
from ggufsurgeon.planning.planner import Origin
from ggufsurgeon.planning.provenance import MTP, provenance_pairs, text_pair, this_tool
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.blocks import Blocks, block_count_key, find_blocks, find_mtp_blocks
from ggufsurgeon.rules.mtp_blocks import mtp_count_key
from ggufsurgeon.rules.tensor_names import TensorLists
from ggufsurgeon.write_plan import WritePlan

NO_MTP = "none"


class ChangedMtp(NamedTuple):
    """The source with other MTP blocks, or none."""

    plan: WritePlan
    """Of its file. The sources are the files of the source, and then those of the donor."""
    planned: GgufFile
    """That file, as if it were there under the name of the source."""
    readable: GgufFile
    """The same, with its data where they are now: in the files of source and donor."""


def change_mtp(
    source: GgufFile, donor: GgufFile | None, origin: Origin | None = None
) -> ChangedMtp:
    """The source without MTP blocks, or with those of `donor`.

    `origin` is recorded instead of this program and the shards of `source`. Raises RefusedError
    when there are none to leave out, when the donor has none, or is not of the same model, and as
    `find_blocks`.
    """
    blocks = find_blocks(source)
    if donor is None and not blocks.n_mtp:
        raise RefusedError(
            f"{source.path} has no MTP blocks that could be left out",
            hint="Ask for the layer path alone: the new file has none either.",
        )
    pairs = list(_pairs(source, blocks, donor))
    view, names = _view(source, blocks.n_trunk, donor)
    chosen = [OutputTensor(tensor.name, n) for n, tensor in enumerate(view.header.tensors)]
    tensors, trunk = place_tensors(view, chosen), LayerPath.identity(blocks.n_trunk)
    described = descriptive_pairs(source.header, tensors, trunk)
    pairs += (pair for pair in described if pair.key != "general.name")
    kept, order = lost_padding(view, chosen), source.header.byte_order
    of = text_pair(MTP, donor.header_sha256 if donor else NO_MTP, order)
    tool, shards = origin or (this_tool(), shards_of(source))
    more = (*record_of_shards(shards, order), of)
    record = provenance_pairs(source, trunk, pairs, {}, kept, tool, more, names)
    head = new_header(source.header, with_filler(source, (*pairs, *record), tensors), tensors)
    plan = assemble(view, head, chosen, kept)
    planned = file_of_plan(source, plan)
    return ChangedMtp(plan, planned, replace(planned, shards=view.shards))


def _pairs(source: GgufFile, blocks: Blocks, donor: GgufFile | None) -> Iterator[KeyValue]:
    """The pairs that say which MTP blocks there are."""
    architecture = find_architecture(source.header.architecture)
    check_arrays_known(source.header, architecture.known_arrays)
    trunk = range(blocks.n_trunk)
    yield from (edit.pair for edit in TensorLists(source.header).follow(trunk))
    if donor is not None:
        mtp = find_mtp_blocks(donor)
        check_donor(source, blocks, donor, mtp)
        yield from pairs_of_donor(source, blocks.n_trunk, donor)
        return
    for key, number in (
        (block_count_key(source.header), blocks.n_trunk),
        (mtp_count_key(source.header), 0),
    ):
        order = source.header.byte_order
        yield make_pair(key, ValueType.UINT32, encode_value(ValueType.UINT32, number, order), order)
    yield from _shorter_arrays(source.header, blocks)


def _shorter_arrays(header: Header, blocks: Blocks) -> Iterator[KeyValue]:
    """Arrays with an element for each block, without those of MTP blocks."""
    prefix = f"{header.architecture}."
    for pair in header.pairs:
        if pair.value_type != ValueType.ARRAY or not pair.key.startswith(prefix):
            continue
        _, count = read_array_prefix(pair.raw, pair.value_at, header.byte_order)
        if count == len(blocks) and pair.key.removeprefix(prefix) not in UNINDEXED_ARRAYS:
            yield reindexed(pair, range(blocks.n_trunk))


def _view(
    source: GgufFile, n_trunk: int, donor: GgufFile | None
) -> tuple[GgufFile, tuple[str, ...]]:
    """The tensors of the source but those of its MTP blocks, then those of the donor's.

    As a model in shards, which are the files that have them; and the names of the donor's.
    """
    shards = [_with_tensors(file, range(n_trunk), outside=True) for file in source.files]
    if donor is not None:
        mtp = range(n_trunk, len(find_mtp_blocks(donor)))
        shards += [_with_tensors(file, mtp, outside=False) for file in donor.files]
    tensors = [tensor for shard in shards for tensor in shard.header.tensors]
    sizes = tuple(size for shard in shards for size in shard.layout.tensor_n_bytes)
    layout = source.layout
    view = replace(
        source,
        header=replace(source.header, tensors=tuple(tensors)),
        layout=Layout(layout.data_start, sizes, layout.data_n_bytes, layout.n_bytes),
        shards=tuple(shards),
    )
    n_before = sum(len(shard.header.tensors) for shard in shards[: len(source.files)])
    return view, tuple(tensor.name for tensor in tensors[n_before:])


def _with_tensors(file: GgufFile, blocks: Sequence[int], *, outside: bool) -> GgufFile:
    """A file with the tensors of some blocks alone, and of those `outside` of all blocks."""
    found = [
        (tensor, size)
        for tensor, size in zip(file.header.tensors, file.layout.tensor_n_bytes, strict=True)
        if ((block := block_of(tensor.name)) is None and outside) or block in blocks
    ]
    return replace(
        file,
        header=replace(file.header, tensors=tuple(tensor for tensor, _ in found)),
        layout=replace(file.layout, tensor_n_bytes=tuple(size for _, size in found)),
    )
