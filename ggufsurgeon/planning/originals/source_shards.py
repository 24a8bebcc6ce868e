"""The shards that a patched file was made from: their record in the file, and their plans.

The record has what the joined file does not: how it was split, and the additional pairs of shards:

    layer_path.source_shards          string  for each shard how many of the pairs below it has,
                                              how many tensors and how many bytes:
                                              "3+12+411904,3+36+774208". Empty if the shards
                                              cannot be recorded, and cannot be restored
    layer_path.source_shards_pairs    u8[]    the split keys of the first shard and all pairs of
                                              the others, as the bytes they had
    layer_path.source_shards_keys_at  string  indices of the split keys among the pairs of the
                                              first shard: "20,21,22"
    layer_path.source_shards_sha256   string  SHA-256 of the concatenated headers of the shards,
                                              each without padding

For shards by llama-gguf-split, the pairs take 82 bytes for each shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ByteOrder, ValueType
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.planning.new_tensors.span_ranges import PlacedSpans
from ggufsurgeon.planning.originals.source_pairs import (
    damaged,
    recorded_numbers,
    recorded_pairs,
    with_pairs_at,
)
from ggufsurgeon.planning.provenance import PREFIX, array_pair, text_pair
from ggufsurgeon.planning.sharding import PlannedFile
from ggufsurgeon.write_plan import WritePlan, coalesce

MOST_N_BYTES = 1 << 16
"""Largest size of the recorded pairs: enough for 799 shards by llama-gguf-split."""


@dataclass(frozen=True)
class SourceShard:
    """The properties of a shard that the joined file does not have."""

    pairs: tuple[KeyValue, ...]
    """The split keys of the first shard, or all pairs of another shard."""
    n_tensors: int
    n_bytes: int


@dataclass(frozen=True)
class SourceShards:
    """The shards of a source; empty if they cannot be recorded (see `shards_of`)."""

    shards: tuple[SourceShard, ...] = ()
    keys_at: tuple[int, ...] = ()
    """Where the split keys are among the pairs of the first shard."""
    headers_sha256: str = ""
    """SHA-256 of the headers of all shards, one behind the other, without padding."""

    @property
    def n_tensors(self) -> tuple[int, ...]:
        """How many tensors each shard has."""
        return tuple(shard.n_tensors for shard in self.shards)


def shards_of(model: GgufFile) -> SourceShards | None:
    """What to record of the shards of a model; None for a single file."""
    if not model.shards:
        return None
    if any(shard.odd_padding for shard in model.shards):
        return SourceShards()
    sizes = [shard.layout.n_bytes for shard in model.shards]
    return shards_with([shard.header for shard in model.shards], sizes, model.header)


def shards_with(headers: Sequence[Header], sizes: Sequence[int], joined: Header) -> SourceShards:
    """What to record of shards with these headers and numbers of bytes, padded with zeros.

    `joined` is the header of what they make.
    """
    first = headers[0]
    keys_at = tuple(n for n, pair in enumerate(first.pairs) if pair.key in SPLIT_KEYS)
    others = [tuple(first.pairs[n] for n in keys_at), *(header.pairs for header in headers[1:])]
    shards = tuple(
        SourceShard(pairs, len(header.tensors), n_bytes)
        for pairs, header, n_bytes in zip(others, headers, sizes, strict=True)
    )
    found = SourceShards(shards, keys_at, _sha256(map(serialize_header, headers)))
    n_bytes = sum(len(pair.raw) for shard in shards for pair in shard.pairs)
    same = len({(header.version, header.byte_order) for header in (joined, *headers)}) == 1
    return found if same and n_bytes <= MOST_N_BYTES else SourceShards()


def shards_of_plans(plans: Sequence[WritePlan], joined: Header) -> SourceShards:
    """What would be recorded of shards that are planned; `joined` as for `shards_with`."""
    headers = [parse_header(plan.header, "a shard")[0] for plan in plans]
    return shards_with(headers, [plan.n_bytes for plan in plans], joined)


def record_of_shards(found: SourceShards | None, order: ByteOrder) -> list[KeyValue]:
    """The pairs that record shards; none for a single file."""
    if found is None:
        return []
    numbers = ",".join(
        f"{len(shard.pairs)}+{shard.n_tensors}+{shard.n_bytes}" for shard in found.shards
    )
    shards = text_pair("source_shards", numbers, order)
    if not found.shards:
        return [shards]
    raw = b"".join(pair.raw for shard in found.shards for pair in shard.pairs)
    keys_at = ",".join(map(str, found.keys_at))
    return [
        shards,
        array_pair("source_shards_pairs", ValueType.UINT8, len(raw), raw, order),
        text_pair("source_shards_keys_at", keys_at, order),
        text_pair("source_shards_sha256", found.headers_sha256, order),
    ]


def read_shards(header: Header, path: str) -> SourceShards | None:
    """The shards that a patched file with this header was made from; None for a single file.

    `path` is for messages only. Raises RefusedError if the record is damaged, or says that the
    shards could not be recorded, and MalformedFileError if its pairs are not well-formed.
    """
    if f"{PREFIX}source_shards" not in header.pair_of:
        return None
    numbers = recorded_numbers(header, "source_shards", 3)
    if not numbers:
        raise RefusedError(
            "the original's shards were not recorded: they have padding other than zeros, GGUF "
            f"versions that differ, or more than {MOST_N_BYTES:,} bytes of metadata besides that "
            "of the first shard",
            hint="They cannot be restored from this file; use the shards that were patched.",
        )
    pairs = recorded_pairs(header, "source_shards_pairs", path)
    keys_at = tuple(index for (index,) in recorded_numbers(header, "source_shards_keys_at", 1))
    if sum(n for n, *_ in numbers) != len(pairs):
        raise damaged("source_shards")
    starts = accumulate((n for n, *_ in numbers), initial=0)
    shards = tuple(
        SourceShard(pairs[start : start + n], n_tensors, n_bytes)
        for start, (n, n_tensors, n_bytes) in zip(starts, numbers, strict=False)
    )
    return SourceShards(shards, keys_at, str(header.get(f"{PREFIX}source_shards_sha256")))


def in_source_shards(plan: WritePlan, shards: SourceShards) -> tuple[WritePlan, ...]:
    """Plans of the shards, of a plan for the file that they make joined.

    Raises RefusedError unless their headers are those that were recorded, byte for byte.
    """
    file = PlannedFile.of(plan)
    if sum(shards.n_tensors) != len(file.header.tensors):
        raise damaged("source_shards")
    first, *others = (shard.pairs for shard in shards.shards)
    first = with_pairs_at(shards.keys_at, first, file.header.pairs, "source_shards_keys_at")
    ends = accumulate(shards.n_tensors, initial=0)
    ranges = [range(start, end) for start, end in pairwise(ends)]
    parts = zip(shards.shards, (first, *others), ranges, strict=True)
    try:
        plans = tuple(_shard(file, *part) for part in parts)
    except MalformedFileError:
        raise damaged("source_shards") from None
    if _sha256(plan.header for plan in plans) != shards.headers_sha256:
        raise damaged("source_shards_sha256")
    return plans


def _shard(
    file: PlannedFile, shard: SourceShard, pairs: Sequence[KeyValue], tensors: range
) -> WritePlan:
    """The plan of a shard, which may end before its last padding.

    Raises MalformedFileError where that is no GGUF file, RefusedError where it has another size.
    """
    alone = replace(file.header, pairs=tuple(pairs), tensors=())
    parse_header(serialize_header(alone), "a shard")  # its alignment may be any value
    whole = file.shard(pairs, tensors)
    header, n_bytes = parse_header(whole.header, "a shard")
    lay_out(header, n_bytes, shard.n_bytes, "a shard")
    spans = PlacedSpans(whole.spans).cut(0, shard.n_bytes - n_bytes)
    plan = WritePlan(whole.sources, whole.header, coalesce(spans))
    if plan.n_bytes != shard.n_bytes:
        raise damaged("source_shards")
    return plan


def _sha256(headers: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for header in headers:
        digest.update(header)
    return digest.hexdigest()
