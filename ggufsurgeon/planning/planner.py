"""Plans of patched files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ggufsurgeon.architectures.model import Edit
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.assembly import source_files
from ggufsurgeon.planning.mixtures.mixture import Mixed, mix
from ggufsurgeon.planning.mixtures.other_sources import record_of_several
from ggufsurgeon.planning.new_tensors.scaling import scale
from ggufsurgeon.planning.new_tensors.slices import reslice
from ggufsurgeon.planning.new_tensors.tensors import (
    OutputTensor,
    choose_tensors,
    data_spans,
    lost_padding,
)
from ggufsurgeon.planning.originals.source_shards import SourceShards, record_of_shards, shards_of
from ggufsurgeon.planning.preparing import prepare_file
from ggufsurgeon.planning.provenance import name_pairs, provenance_pairs, this_tool
from ggufsurgeon.planning.resolving import over_trunk
from ggufsurgeon.rules.application import ModelRules, with_mtp
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.outside_blocks import unknown_tensor_notes
from ggufsurgeon.rules.whole_models.unknown_types import unknown_type_notes
from ggufsurgeon.rules.windows import nearest_windows
from ggufsurgeon.write_plan import CopySpan, WritePlan, ZeroSpan, coalesce

UNFINISHED = (
    "the source's data end in zeros, as those of an unfinished download do: compare its SHA-256 "
    "with that of the original"
)
ODD_SHARDS = (
    "the source's shards have unusual padding, versions or metadata, so that they are not recorded "
    "and restore cannot write them: keep them"
)


@dataclass(frozen=True)
class Change:
    """A key whose value changes; `before` is None for a new one."""

    before: KeyValue | None
    after: KeyValue


@dataclass(frozen=True)
class PatchPlan:
    """The outcome of a patch of `source`, before anything is written."""

    source: GgufFile
    path: LayerPath
    n_source_blocks: int
    notes: tuple[str, ...]
    """Facts about the new file that a user should know, of which it is the subject."""
    changes: tuple[Change, ...]
    write_plan: WritePlan
    source_notes: tuple[str, ...] = ()
    """Facts about the source, as sentences."""
    others: tuple[GgufFile, ...] = ()
    """The models 1, 2, ... of the path, if it is over several. The sources of `write_plan` are the
    files of `source` and then theirs."""
    equal_data: tuple[tuple[CopySpan, CopySpan, str], ...] = ()
    """Spans of the sources of `write_plan` that must have the same data, with the name of their
    tensor: whoever carries out the plan checks that (`check_equal_data`)."""
    donor: GgufFile | None = None
    """The file that MTP blocks are taken from, which is the only one of `others`."""


class Origin(NamedTuple):
    """Properties of a patch that are recorded besides the source and the layer path."""

    tool: str
    """The program with its version."""
    shards: SourceShards | None
    """The shards of the source; None for a single file."""


def plan_patch(
    source: GgufFile,
    path: AnyPath,
    *,
    others: Sequence[GgufFile] = (),
    outside: OutsideBlocks | None = None,
    scale_weights: bool = False,
    origin: Origin | None = None,
    name: str | None = None,
) -> PatchPlan:
    """Plan the file in which the blocks of `path` run, in order; MTP blocks stay behind them.

    `others` are the models 1, 2, ... of the path, and `outside` says which model all that is not in
    a block comes from: without it, `OutsideBlocks.beside`. A model that is not used is not looked
    at, so that a path over `source` alone gives the file that it gives without others.

    The identity path gives the identical file. `scale_weights` allows paths on which tensors must
    be multiplied by a factor to compute the same, within rounding. `origin` is recorded instead of
    this program and the shards of `source`. `name` is the name of the new model, and recorded as
    one that was given; without it, the name follows from that of `source`. Raises RefusedError
    when no exact file exists or its rules are not known, UsageError when the path is not one over
    this model, and MalformedFileError when the model is not whole.
    """
    if others or outside is not None:
        mixed = mix(source, path, others, outside)
        if len(mixed.used) > 1:
            return _plan_several(mixed, scale_weights, origin, name)
        path = mixed.trunk
    blocks = find_blocks(source)
    trunk = over_trunk(path, blocks)
    whole = with_mtp(trunk, blocks)
    if trunk == LayerPath.identity(blocks.n_trunk) and name is None:
        return PatchPlan(source, whole, len(blocks), (), (), joined_plan(source))
    rules = ModelRules(source, blocks, scale_weights=scale_weights)
    edits = _apply_rules(rules, source, blocks, trunk, in_windows=not isinstance(path, LayerPath))
    factors = rules.factors(trunk.blocks) if scale_weights else {}
    chosen = reslice(source, blocks, choose_tensors(source, blocks, whole.blocks), whole.blocks)
    chosen = scale(source, chosen, factors)
    made = prepare_file(source, blocks, whole, chosen, edits, whole, name)
    kept = lost_padding(source, made.chosen)
    tool, shards = origin or (this_tool(), shards_of(source))
    of_shards = record_of_shards(shards, source.header.byte_order)
    record = provenance_pairs(
        source, whole, made.pairs, factors, kept, tool, of_shards, made.scales.added, name
    )
    head, write_plan = made.finished(record, kept)
    notes, of_source = tuple(made.notes(factors)), _source_notes(source, shards)
    changes = changes_of(source.header, head)
    return PatchPlan(source, whole, len(blocks), notes, changes, write_plan, of_source)


def _plan_several(
    mixed: Mixed, scale_weights: bool, origin: Origin | None, name: str | None
) -> PatchPlan:
    """The plan of a file with blocks of several models."""
    if scale_weights:
        raise UsageError("weights can be scaled on paths over one model alone")
    rules, source = mixed.rules, mixed.given[0]
    edits = rules.apply(mixed.compact)
    rules.check_strengths(mixed.compact)
    joined = mixed.join()
    chosen = choose_tensors(joined.file, joined.blocks, joined.path.blocks)
    made = prepare_file(joined.file, joined.blocks, joined.path, chosen, edits, mixed.whole, name)
    tool = origin.tool if origin else this_tool()
    record = record_of_several(mixed.used, mixed.whole, mixed.outside, tool, made.scales.added)
    record += name_pairs(name, source.header.byte_order)
    head, write_plan = made.finished(record)
    of_sources = [note for file in mixed.used.values() for note in _source_notes(file, None)]
    return PatchPlan(
        source,
        mixed.whole,
        len(mixed.blocks[0]),
        tuple(made.notes({})),
        changes_of(source.header, head),
        write_plan,
        (*rules.notes(), *of_sources),
        mixed.given[1:],
        tuple(mixed.equal_data()),
    )


def changes_of(before: Header, after: Header) -> tuple[Change, ...]:
    """The pairs of a header that another one lacks, or has otherwise."""
    old = before.pair_of
    return tuple(
        Change(old.get(pair.key), pair)
        for pair in after.pairs
        if pair.key not in old or old[pair.key].raw != pair.raw
    )


def _apply_rules(
    rules: ModelRules, source: GgufFile, blocks: Blocks, trunk: LayerPath, *, in_windows: bool
) -> list[Edit]:
    """The edits; a refusal names the nearest windows that work, or their paths."""
    try:
        return rules.apply(trunk.blocks)
    except RefusedError as error:
        nearest = nearest_windows(source, blocks, trunk)
        if nearest:
            what = "windows" if in_windows else "layer paths"
            named = (f"{w[0]}:{w[1]}" if in_windows else f'"{near}"' for w, near in nearest)
            error.hint = f"{error.hint} Nearest {what} that work: {', '.join(named)}.".lstrip()
        raise


def _source_notes(source: GgufFile, shards: SourceShards | None) -> tuple[str, ...]:
    return (
        *(UNFINISHED for _ in range(source.ends_in_zeros)),
        *(ODD_SHARDS for _ in range(shards == SourceShards())),
        *unknown_tensor_notes(source.header),
        *unknown_type_notes(source.header),
    )


def joined_plan(source: GgufFile) -> WritePlan:
    """The plan of the same file; of shards, that of the file that they make joined."""
    header = serialize_header(source.header)
    if not source.shards:
        rest = CopySpan(0, len(header), source.layout.n_bytes - len(header))
        return WritePlan(source_files(source), header, coalesce((rest,)))
    tensors = [OutputTensor(tensor.name, n) for n, tensor in enumerate(source.header.tensors)]
    padding = ZeroSpan(source.layout.data_start - len(header))
    spans = coalesce((padding, *data_spans(source, tensors)))
    return WritePlan(source_files(source), header, spans)
