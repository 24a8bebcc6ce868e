"""The original of a patched file, planned from that file alone.

A patch that loses no block is undone by another one: along the path that runs, for each block of
the source, the position at which it runs first. The record gives the pairs of the source, and the
SHA-256 that the header must have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.layout import pad
from ggufsurgeon.container.padding import PaddingRange, all_padding
from ggufsurgeon.errors import LostError, MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.planning.assembly import source_files
from ggufsurgeon.planning.new_tensors.slices import reslice
from ggufsurgeon.planning.new_tensors.span_ranges import PlacedSpans, compose, file_of_plan
from ggufsurgeon.planning.new_tensors.tensors import (
    OutputTensor,
    choose_tensors,
    data_spans,
    place_tensors,
)
from ggufsurgeon.planning.originals.source_pairs import (
    damaged,
    no_record,
    recorded_numbers,
    recorded_path,
    source_pairs,
)
from ggufsurgeon.planning.originals.source_shards import SourceShards, in_source_shards, read_shards
from ggufsurgeon.planning.provenance import (
    ADDED_TENSORS,
    MTP,
    PREFIX,
    is_scaled,
    read_provenance,
    recorded_names,
)
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.blocks import block_count_key, find_blocks, first_positions
from ggufsurgeon.rules.strengths import factor_of_tensor
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan, Written, ZeroSpan, coalesce

MOST_PATCHES = 32
"""Patches that are undone at once: a header that names more was made to waste time."""
MOST_LOST_SHOWN = 1000


@dataclass(frozen=True)
class RestorePlan:
    """The outcome of undoing the patches of a file."""

    patched: GgufFile
    restored: GgufFile
    """The file that will be written; its path is that of `patched`."""
    undone: tuple[LayerPath, ...]
    """The layer paths of the patches that are undone, the last one first."""
    remaining: str
    """Why an earlier patch cannot be undone; empty where the result is the very original."""
    write_plan: WritePlan
    """The plan of the file, or of the joined shards."""
    file_plans: tuple[WritePlan, ...]
    """The plan of the file, or of each shard."""
    written: Written | None = None
    """After writing: the bytes that were written, and those shared with `patched`."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the file, or of all shards together."""
        return sum(plan.n_bytes for plan in self.file_plans)


def plan_restore(patched: GgufFile) -> RestorePlan:
    """Plan the file that `patched` was made from, through as many patches as can be undone.

    Raises RefusedError when not even the last patch can be undone exactly.
    """
    path, before, plan, shards = _undo(patched)
    undone, remaining, file_plans = [path], "", _file_plans(plan, shards)
    while _is_patched(before.header) and not remaining:
        try:
            if len(undone) == MOST_PATCHES:
                raise RefusedError(f"more than {MOST_PATCHES} patches are not undone at once")
            path, earlier, step, shards = _undo(before)
            step = compose(plan, step)
            file_plans = _file_plans(step, shards)
        except (RefusedError, MalformedFileError) as error:
            remaining = str(error)
        else:
            undone.append(path)
            before, plan = earlier, step
    return RestorePlan(patched, before, tuple(undone), remaining, plan, file_plans)


def _file_plans(plan: WritePlan, shards: SourceShards | None) -> tuple[WritePlan, ...]:
    """The plans of the files that a restored model is in."""
    return (plan,) if shards is None else in_source_shards(plan, shards)


def _is_patched(header: Header) -> bool:
    return any(pair.key.startswith(PREFIX) for pair in header.pairs)


def _restored(patched: GgufFile, plan: WritePlan) -> GgufFile:
    """The file that a plan restores. Raises RefusedError where it is none."""
    kept = tuple(found for found, _ in _kept_padding(patched))
    try:
        file = file_of_plan(patched, plan)
    except MalformedFileError:
        raise damaged("source_n_bytes") from None
    if not set(kept) <= set(all_padding(file.header, file.header_n_bytes, file.layout)):
        raise damaged("kept_padding")
    return replace(file, odd_padding=kept)


class _Undone(NamedTuple):
    path: LayerPath
    file: GgufFile
    """The file as it was before the patch."""
    plan: WritePlan
    """The plan of that file."""
    shards: SourceShards | None
    """The shards of that file; None for a single file."""


def _undo(patched: GgufFile) -> _Undone:
    """The last patch of a file, undone."""
    path, source_n_bytes = _check_record(patched)
    pairs = source_pairs(patched.header, str(patched.path))
    n_blocks = Header(patched.header.version, patched.header.byte_order, pairs, ()).get(
        block_count_key(patched.header)
    )
    has_own_mtp = PREFIX + MTP not in patched.header.pair_of
    known = n_blocks if isinstance(n_blocks, int) else 0
    positions = _positions(path, known, has_own_mtp=has_own_mtp)
    blocks = find_blocks(patched)
    if len(path) != (len(blocks) if has_own_mtp else blocks.n_trunk):
        raise damaged("blocks")
    tensors = list(_without_added(patched, choose_tensors(patched, blocks, positions)))
    _check_scales(patched, path, tensors)
    tensors = reslice(patched, blocks, tensors, positions)
    header = _source_header(patched, pairs, tensors)
    spans = list(_spans(patched, tensors, header, source_n_bytes))
    plan = WritePlan(source_files(patched), header, coalesce(spans))
    shards = read_shards(patched.header, str(patched.path))
    return _Undone(path, _restored(patched, plan), plan, shards)


def _check_record(patched: GgufFile) -> tuple[LayerPath, int]:
    """The path, and the size of the source. Raises RefusedError where there is no way back."""
    provenance = read_provenance(patched.header)
    if provenance is None:
        raise no_record(patched)
    if is_scaled(patched.header):
        raise LostError("weights were multiplied by a factor and rounded: that has no inverse")
    return recorded_path(provenance), provenance.source_n_bytes


def _positions(path: LayerPath, n_blocks: int, *, has_own_mtp: bool) -> list[int]:
    """For each block of the source, where it runs first. Raises RefusedError for lost blocks.

    Where MTP blocks were changed, `has_own_mtp` is false and the path is that of all others.
    """
    first = first_positions(path.blocks)
    lost = list(islice((n for n in range(n_blocks) if n not in first), MOST_LOST_SHOWN))
    if lost:
        which = f"block {LayerPath.of(lost)} of {n_blocks}"
        raise LostError(
            f"the layer path {path} leaves out {which}: this file does not hold it"
            if has_own_mtp
            else f"the MTP blocks of the original, {which}, were left out or replaced: this file "
            "does not hold them",
            hint="Only the file that was patched has it.",
        )
    if len(first) != n_blocks:
        raise damaged("blocks")
    return [first[block] for block in range(n_blocks)]


def _without_added(patched: GgufFile, tensors: Sequence[OutputTensor]) -> Iterator[OutputTensor]:
    """The tensors that the source had."""
    added = set(recorded_names(patched.header, ADDED_TENSORS))
    for tensor in tensors:
        if _origin(patched, tensor) not in added:
            yield tensor


def _origin(patched: GgufFile, tensor: OutputTensor) -> str:
    """The name that a tensor of the restored file has in the patched one."""
    assert tensor.source_tensor is not None
    return patched.header.tensors[tensor.source_tensor].name


def _check_scales(patched: GgufFile, path: LayerPath, tensors: Sequence[OutputTensor]) -> None:
    """Raise LostError where a scale or a bias of the source has been multiplied."""
    for tensor in tensors:
        name = _origin(patched, tensor)
        position = block_of(name)
        if position is not None and factor_of_tensor(name, path.steps[position]) != FULL:
            raise LostError(
                f"{name} was multiplied by a factor and rounded: that has no inverse",
                hint="Only the file that was patched has it.",
            )


def _source_header(
    patched: GgufFile, pairs: Sequence[KeyValue], tensors: Sequence[OutputTensor]
) -> bytes:
    """The header of the source. Raises RefusedError unless it is, byte for byte."""
    version, order = patched.header.version, patched.header.byte_order
    placed = place_tensors(patched, tensors)
    header = serialize_header(Header(version, order, tuple(pairs), placed))
    if hashlib.sha256(header).hexdigest() != patched.header.get(f"{PREFIX}source_header_sha256"):
        raise RefusedError(
            "the header of the original, rebuilt from this file, lacks the recorded SHA-256: "
            "another program has changed metadata or tensors since the patch",
            hint="Use the patched file as ggufsurgeon wrote it, or download the original again.",
        )
    return header


def _spans(
    patched: GgufFile, tensors: Sequence[OutputTensor], header: bytes, source_n_bytes: int
) -> Iterator[Span]:
    """Padding, data and what follows it, as they were in the source."""
    layout, alignment = patched.layout, patched.header.alignment
    kept = _kept_padding(patched)
    n_kept = sum(found.n_bytes for found, _ in kept)
    padding = ZeroSpan(pad(len(header), alignment) - len(header))
    spans = (padding, *data_spans(patched, tensors))
    n_there = sum(span.n_bytes for span in spans) - n_kept
    n_wanted = source_n_bytes - len(header)
    n_behind = layout.n_bytes - layout.data_start - layout.data_n_bytes - n_kept
    if n_behind < 0 and patched.shards:
        raise RefusedError(
            f"{-n_behind:,} bytes that followed the tensors of the patched file are missing: they "
            "were lost when it was split into shards",
            hint="Restore from the patched file as it was before it was split.",
        )
    # A source may end before its last padding; what follows the data has not changed its size.
    if n_behind < 0 or not (n_wanted == n_there or (n_there > n_wanted and not n_behind)):
        raise damaged("source_n_bytes")
    yield from PlacedSpans(_with_kept(spans, kept, len(header))).cut(0, n_wanted)


def _with_kept(
    spans: Sequence[Span], kept: Sequence[tuple[PaddingRange, CopySpan]], header_n_bytes: int
) -> list[Span]:
    """The spans, in which padding that was kept is in its place again."""
    placed, found, at = PlacedSpans(spans), list[Span](), 0
    for (offset_in_file, n_bytes), copy in sorted(kept, key=lambda each: each[0]):
        start = offset_in_file - header_n_bytes
        if not at <= start <= start + n_bytes <= placed.n_bytes:
            raise damaged("kept_padding")
        found += [*placed.cut(at, start), copy]
        at = start + n_bytes
    return [*found, *placed.cut(at, placed.n_bytes)]


def _kept_padding(patched: GgufFile) -> list[tuple[PaddingRange, CopySpan]]:
    """Where padding was in the source, and where it is in the file: at its end."""
    ranges = [PaddingRange(*pair) for pair in recorded_numbers(patched.header, "kept_padding", 2)]
    at = patched.layout.n_bytes - sum(found.n_bytes for found in ranges)
    kept = []
    for found in ranges:
        kept.append((found, CopySpan(0, at, found.n_bytes)))
        at += found.n_bytes
    return kept
