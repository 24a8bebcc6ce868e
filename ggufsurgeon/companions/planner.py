"""Plans of companions that are re-indexed along a layer path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.companions.control_vectors import (
    check_control_vectors,
    choose_vectors,
    count_pair,
)
from ggufsurgeon.companions.drafts import NOTE as NOTE_ON_DRAFTS
from ggufsurgeon.companions.drafts import check_draft, follow_target
from ggufsurgeon.companions.finding_target import target_of_file, target_of_path
from ggufsurgeon.companions.imatrix import NOTE, check_imatrix
from ggufsurgeon.companions.kinds import BaseModel, CompanionKind, find_kind
from ggufsurgeon.companions.lora import check_lora, check_lora_strengths
from ggufsurgeon.companions.notes_on_several import notes_on_donor, notes_on_several
from ggufsurgeon.companions.record import check_record, read_record, record_pairs
from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.layout import pad
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.assembly import source_files
from ggufsurgeon.planning.new_tensors.tensors import (
    OutputTensor,
    choose_tensors,
    data_spans,
    place_tensors,
)
from ggufsurgeon.planning.planner import joined_plan
from ggufsurgeon.planning.provenance import is_left_out, read_provenance
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.write_plan import WritePlan, ZeroSpan, coalesce

NO_BLOCK = -1
"""Stands for a block of another model: no tensor is of it, and it is the last of `_blocks`."""
FOR_A_PATCHED_MODEL = (
    "the model is a patched one, and the companion does not say for which layer path it was made: "
    "if that was the model's original, it belongs to other blocks"
)


@dataclass(frozen=True)
class CompanionPlan:
    """The outcome of re-indexing `companion`, before anything is written."""

    companion: GgufFile
    kind: CompanionKind
    path: LayerPath
    """The blocks of the patched model, with MTP blocks behind them."""
    n_tensors: int
    """Of the new companion."""
    notes: tuple[str, ...]
    """Facts about the new companion that a user should know."""
    write_plan: WritePlan


def plan_companion(
    companion: GgufFile, source: GgufFile, path: AnyPath, *, other_base: bool = False
) -> CompanionPlan:
    """Plan the companion for the model that `path` makes of `source`.

    The identity path gives the identical file. `other_base` allows an adapter whose metadata name
    another base model. Raises RefusedError when the companion does not belong to `source`, when
    the path makes it meaningless, or as `plan_patch`.
    """
    return _plan(companion, source, target_of_path(source, path), other_base)


def plan_companion_of(
    companion: GgufFile,
    source: GgufFile,
    patched: GgufFile,
    *,
    number: int | None = None,
    other_base: bool = False,
) -> CompanionPlan:
    """Plan the companion for `patched`, whose record has the layer path.

    On a path over several models it follows the blocks of `source` alone; `number` is that of
    `source` in the path, where several models have its header and data. Raises as `plan_companion`,
    RefusedError when `patched` was not made from `source`, and SeveralNumbersError where the number
    is missing.
    """
    return _plan(companion, source, target_of_file(source, patched, number), other_base)


def _plan(companion: GgufFile, source: GgufFile, target: Target, other_base: bool) -> CompanionPlan:
    kind, base = find_kind(companion), BaseModel(source)
    check_record(companion, source)
    _check(kind, companion, base, other_base)
    if kind is CompanionKind.LORA:
        check_lora_strengths(companion, target.own_steps)
    notes = [*_notes(kind, companion, source), *notes_on_donor(kind, target)]
    if target.path == LayerPath.identity(len(base.blocks)) and target.models is None:
        plan = joined_plan(companion)
        n_tensors = len(companion.header.tensors)
        return CompanionPlan(companion, kind, target.path, n_tensors, tuple(notes), plan)
    chosen = _choose(kind, companion, base, target)
    notes += notes_on_several(kind, companion, target)
    changed = list(_changed_pairs(kind, companion, base, target, len(chosen)))
    changed += record_pairs(companion, source, target)
    tensors = place_tensors(companion, chosen)
    header = serialize_header(_new_header(companion.header, changed, tensors))
    padding = ZeroSpan(pad(len(header), companion.header.alignment) - len(header))
    spans = coalesce((padding, *data_spans(companion, chosen)))
    plan = WritePlan(source_files(companion), header, spans)
    return CompanionPlan(companion, kind, target.path, len(chosen), tuple(notes), plan)


def _changed_pairs(
    kind: CompanionKind, companion: GgufFile, base: BaseModel, target: Target, n_tensors: int
) -> Iterator[KeyValue]:
    """The pairs of the new companion that differ, besides the record."""
    if kind is CompanionKind.CONTROL_VECTOR:
        yield from count_pair(companion, n_tensors)
    if kind is CompanionKind.DRAFT:
        yield from follow_target(companion, target, base.blocks.n_trunk)


def _check(kind: CompanionKind, companion: GgufFile, base: BaseModel, other_base: bool) -> None:
    is_reindexed = read_record(companion.header) is not None  # by its record, for this model
    other_base = other_base or is_reindexed
    if kind is CompanionKind.LORA:
        check_lora(companion, base, other_base=other_base)
    elif kind is CompanionKind.IMATRIX:
        check_imatrix(companion, base, may_lack_blocks=is_reindexed)
    elif kind is CompanionKind.DRAFT:
        check_draft(companion, base, other_base=other_base)
    else:
        check_control_vectors(companion, base)


def _choose(
    kind: CompanionKind, companion: GgufFile, base: BaseModel, target: Target
) -> list[OutputTensor]:
    """The tensors of the new companion. Raises RefusedError when none of them is of a block.

    Those of a draft are its own blocks, which stay.
    """
    if kind is CompanionKind.DRAFT:
        tensors = companion.header.tensors
        return [OutputTensor(tensor.name, index) for index, tensor in enumerate(tensors)]
    if kind is CompanionKind.CONTROL_VECTOR:
        chosen = choose_vectors(companion, target.blocks)
        n_of_blocks = len(chosen)
    else:
        chosen = list(_tensors_of_weights(companion, base, target))
        n_of_blocks = sum(block_of(tensor.name) is not None for tensor in chosen)
    had_blocks = kind is CompanionKind.CONTROL_VECTOR or any(
        block_of(tensor.name) is not None for tensor in companion.header.tensors
    )
    if (companion.header.tensors and not chosen) or (had_blocks and not n_of_blocks):
        raise RefusedError(
            f"the layer path leaves out all blocks that {companion.path} is about: nothing of it "
            "remains"
        )
    return chosen


def _tensors_of_weights(
    companion: GgufFile, base: BaseModel, target: Target
) -> Iterator[OutputTensor]:
    """Those of a companion that has tensors by the names of weights, where the model has these."""
    blocks = _blocks(companion, len(base.blocks))
    path = [NO_BLOCK if block is None else block for block in target.blocks]
    for tensor in choose_tensors(companion, blocks, path):
        if target.has(tensor.name, base.architecture or ""):
            yield tensor


def _blocks(companion: GgufFile, n_blocks: int) -> Blocks:
    """The tensors of a companion by the blocks of its model; many blocks may have none.

    Behind them is one without tensors, for NO_BLOCK.
    """
    found: list[list[int]] = [[] for _ in range(n_blocks)]
    for index, tensor in enumerate(companion.header.tensors):
        block = block_of(tensor.name)
        if block is not None and block < n_blocks:  # llama.cpp passes over norms of any name
            found[block].append(index)
    return Blocks((*map(tuple, found), ()), 0)


def _new_header(
    header: Header, changed: Sequence[KeyValue], tensors: tuple[TensorInfo, ...]
) -> Header:
    """The header with changed pairs in their place, and the record last."""
    after = {pair.key: pair for pair in changed}
    kept = [after.pop(pair.key, pair) for pair in header.pairs if not is_left_out(pair.key)]
    return Header(header.version, header.byte_order, (*kept, *after.values()), tensors)


def _notes(kind: CompanionKind, companion: GgufFile, source: GgufFile) -> list[str]:
    of_kind = {CompanionKind.IMATRIX: NOTE, CompanionKind.DRAFT: NOTE_ON_DRAFTS}
    notes = [of_kind[kind]] if kind in of_kind else []
    if read_provenance(source.header) is not None and read_record(companion.header) is None:
        notes.append(FOR_A_PATCHED_MODEL)
    return notes
