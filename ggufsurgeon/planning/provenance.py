"""Keys of a patched file that record how it was made, enough to restore the original.

    layer_path.tool                   string  the program and its version
    layer_path.blocks                 string  the layer path in compact form
    layer_path.source_header_sha256   string  SHA-256 of the source's header, without padding
    layer_path.source_n_bytes         u64     size of the source file
    layer_path.replaced_pairs         u8[]    the key-value pairs of the source that were
                                              replaced, as the bytes they had, one after another
    layer_path.kept_padding           string  padding of the source that is not zeros and has no
                                              place in this file: offsets in the source and sizes,
                                              "1000+24,2000+8". The bytes are the last of the file
    layer_path.removed_at             string  indices, among the pairs of the source, of replaced
                                              pairs whose keys this file lacks: "27,28". They are
                                              keys of an earlier record, or the split keys that
                                              llama-gguf-split leaves in merged files
    layer_path.source_shards*         of a source in shards: `planning/originals/source_shards.py`
    layer_path.added_keys             string[] keys that the source did not have, if there are any
    layer_path.added_tensors          string[] tensors of this file that the source did not have,
                                              if there are any: scales of blocks with strengths
    layer_path.filler                 u8[]    zeros, so many that the data have the same offset
                                              within a file-system block of 4096 bytes as in the
                                              source
    layer_path.name                   string  the name that was given to the new model, if any
    layer_path.scaled_tensors         string[] tensors of every block that were multiplied, by
                                              their names within it, if there are any
    layer_path.scaled_by              f64[]   their factors; such a patch is not reversible
    layer_path.mtp                    of other MTP blocks: see `planning/mtp_change/changing.py`
    layer_path.other_sources*, layer_path.outside
                                      of several models: see `planning/mixtures/other_sources.py`

Pairs keep their place when they are replaced, new ones come last; tensors that were there keep
their order, repeats come last; a tensor with a slice for each block holds the original slices
where their blocks run first. No time and no path of the machine is written: the same input
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    ByteOrder,
    ValueType,
    encode_array_prefix,
    encode_string,
    encode_value,
)
from ggufsurgeon.container.padding import PaddingRange
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.own_version import own_version

PREFIX = "layer_path."
"""Not `ggufsurgeon.`: another project writes `ggufsurgeon.padding`."""

FILLER = f"{PREFIX}filler"
FILE_SYSTEM_BLOCK_N_BYTES = 4096
"""The usual size of a block: of ext4 and XFS by default, of btrfs with pages of 4096 bytes."""

ADDED_TENSORS = "added_tensors"
GIVEN_NAME = "name"
MTP = "mtp"
OTHER_SOURCES = "other_sources"
SCALING_KEYS = (f"{PREFIX}scaled_tensors", f"{PREFIX}scaled_by")


@cache
def this_tool() -> str:
    """This program and its version, as a record names them."""
    return f"ggufsurgeon {own_version()}"


def is_left_out(key: str) -> bool:
    """Whether a patch leaves out a key of its source, because it would be false in the new file.

    These are keys of an earlier record, and split keys, which have the number of the source's
    tensors.
    """
    return key.startswith(PREFIX) or key in SPLIT_KEYS


@dataclass(frozen=True)
class Provenance:
    """The source and the layer path that a patched file records, and the program that made it."""

    tool: str
    blocks: str
    source_header_sha256: str
    source_n_bytes: int
    is_of_several: bool = False
    """Whether the path is over several models; the source is then model 0."""


def provenance_pairs(
    source: GgufFile,
    path: LayerPath,
    new_pairs: Sequence[KeyValue],
    factors: Mapping[str, float],
    kept: Sequence[PaddingRange],
    tool: str,
    more: Sequence[KeyValue] = (),
    added_tensors: Sequence[str] = (),
    name: str | None = None,
) -> list[KeyValue]:
    """The pairs that record the patch.

    `new_pairs` replace pairs of the source or are added, `factors` are those of scaled tensors,
    `kept` is the padding of the source that is at the end of the file, `tool` is the program
    with its version, `more` are the pairs that record the source's shards and its other MTP blocks,
    `added_tensors` are the names of tensors that the source lacks, and `name` is one that was
    given. The filler, whose size depends on all other pairs, is not among them.
    """
    order, header = source.header.byte_order, source.header
    size = encode_value(ValueType.UINT64, source.layout.n_bytes, order)
    padding = ",".join(f"{offset}+{n_bytes}" for offset, n_bytes in kept)
    added = [pair.key for pair in new_pairs if pair.key not in header.pair_of]
    record = [
        text_pair("tool", tool, order),
        text_pair("blocks", str(path), order),
        text_pair("source_header_sha256", source.header_sha256, order),
        make_pair(f"{PREFIX}source_n_bytes", ValueType.UINT64, size, order),
        _replaced_pairs(header, new_pairs),
        text_pair("kept_padding", padding, order),
    ]
    at_times = [
        *more,
        *(names_pair("added_keys", added, order) for _ in added[:1]),  # gguf-py: no empty arrays
        *(names_pair(ADDED_TENSORS, added_tensors, order) for _ in added_tensors[:1]),
        *scaling_pairs(factors, order),
        *name_pairs(name, order),
    ]
    written = {FILLER, *(pair.key for pair in (*record, *at_times))}
    return [*record, _removed_at(header, written), *at_times]


def filler_pair(header_n_bytes: int, data_start: int, order: ByteOrder) -> KeyValue:
    """The pair that fills a header, which has `header_n_bytes` with the shortest filler.

    The data of the new file then start at `data_start`, the offset in the source, plus or minus
    whole file-system blocks, so that blocks can be inserted into a file or shared between files.
    """
    n_zeros = 1 + (data_start - header_n_bytes) % FILE_SYSTEM_BLOCK_N_BYTES  # gguf-py: not empty
    return array_pair("filler", ValueType.UINT8, n_zeros, bytes(n_zeros), order)


def shortest_filler(order: ByteOrder) -> KeyValue:
    """The filler with which the size of a header is found."""
    return filler_pair(0, 0, order)


def _replaced_pairs(header: Header, new_pairs: Sequence[KeyValue]) -> KeyValue:
    written = {pair.key for pair in new_pairs}
    replaced = (p for p in header.pairs if p.key in written or is_left_out(p.key))
    raw = b"".join(pair.raw for pair in replaced)
    return array_pair("replaced_pairs", ValueType.UINT8, len(raw), raw, header.byte_order)


def names_pair(key: str, names: Sequence[str], order: ByteOrder) -> KeyValue:
    """A pair of a record with an array of names."""
    encoded = b"".join(encode_string(name, order) for name in names)
    return array_pair(key, ValueType.STRING, len(names), encoded, order)


def recorded_names(header: Header, key: str) -> tuple[str, ...]:
    """The names in a key of a record; none where it is absent, or no array of strings."""
    names = header.get(PREFIX + key)
    return tuple(n for n in names if isinstance(n, str)) if isinstance(names, list) else ()


def _removed_at(header: Header, written: set[str]) -> KeyValue:
    """Where the source has keys that the new file lacks."""
    written = {*written, f"{PREFIX}removed_at"}
    removed = (
        str(index)
        for index, pair in enumerate(header.pairs)
        if is_left_out(pair.key) and pair.key not in written
    )
    return text_pair("removed_at", ",".join(removed), header.byte_order)


def scaling_pairs(factors: Mapping[str, float], order: ByteOrder) -> list[KeyValue]:
    """The pairs that record the factors of scaled tensors; none without factors."""
    if not factors:
        return []
    numbers = b"".join(encode_value(ValueType.FLOAT64, n, order) for n in factors.values())
    return [
        names_pair("scaled_tensors", list(factors), order),
        array_pair("scaled_by", ValueType.FLOAT64, len(factors), numbers, order),
    ]


def name_pairs(name: str | None, order: ByteOrder) -> list[KeyValue]:
    """The pair that records the name that was given to a model; none without one."""
    return [] if name is None else [text_pair(GIVEN_NAME, name, order)]


def array_pair(
    key: str, kind: ValueType, count: int, elements: bytes, order: ByteOrder
) -> KeyValue:
    """A pair of a record with an array of encoded elements."""
    encoded = encode_array_prefix(kind, count, order) + elements
    return make_pair(PREFIX + key, ValueType.ARRAY, encoded, order)


def is_scaled(header: Header) -> bool:
    """Whether the file records that tensors were multiplied by factors."""
    return SCALING_KEYS[0] in header.pair_of


def read_provenance(header: Header) -> Provenance | None:
    """The record of a patched file; None for a file without one."""
    keys = ("tool", "blocks", "source_header_sha256", "source_n_bytes")
    tool, blocks, digest, n_bytes = (header.get(PREFIX + key) for key in keys)
    if not (isinstance(blocks, str) and isinstance(digest, str) and isinstance(n_bytes, int)):
        return None
    is_of_several = PREFIX + OTHER_SOURCES in header.pair_of
    return Provenance(tool if isinstance(tool, str) else "", blocks, digest, n_bytes, is_of_several)


def text_pair(key: str, text: str, order: ByteOrder) -> KeyValue:
    """A pair of a record with a string."""
    kind = ValueType.STRING
    return make_pair(PREFIX + key, kind, encode_value(kind, text, order), order)
