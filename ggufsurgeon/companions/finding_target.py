"""Finding the patched model that a companion is re-indexed for, by a layer path or in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.companions.same_data import has_data_of
from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import (
    MalformedFileError,
    RefusedError,
    SeveralNumbersError,
    UsageError,
)
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels, read_models
from ggufsurgeon.planning.mtp_change.planning import recorded_mtp
from ggufsurgeon.planning.originals.restoring import MOST_PATCHES
from ggufsurgeon.planning.originals.source_pairs import (
    damaged,
    header_before,
    no_record,
    recorded_path,
)
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.provenance import is_scaled, read_provenance


def target_of_path(source: GgufFile, path: AnyPath) -> Target:
    """The model that `path` makes of `source`. Raises as `plan_patch`."""
    if isinstance(path, LayerPath) and any(step.source for step in path.steps):
        raise UsageError(
            "on a layer path over several models, a companion follows the record of the patched "
            "file: give that file in place of a layer path"
        )
    planned = plan_patch(source, path)
    digest = hashlib.sha256(planned.write_plan.header).hexdigest()
    return Target(planned.path, BaseModel(source).blocks.n_mtp, digest)


def target_of_file(source: GgufFile, patched: GgufFile, number: int | None) -> Target:
    """The model in `patched`, which was made from `source`.

    `number` is that of `source` in the layer path, where several models have its header and its
    data. Raises RefusedError when `patched` was not made from `source`, and SeveralNumbersError
    where the number is missing.
    """
    models = read_models(patched.header)
    if models is not None:
        return _target_of_several(source, patched, models, number)
    if number not in (None, 0):
        raise UsageError(f"the layer path of {patched.path} is over one model, which has number 0")
    record = read_provenance(patched.header)
    if record is None:
        raise no_record(patched)
    change = recorded_mtp(patched)
    made_from = record.source_header_sha256 if change is None else change[1].source_header_sha256
    if made_from != source.header_sha256:
        raise _not_made_from(source, patched, made_from)
    if is_scaled(patched.header):
        raise RefusedError(
            f"weights of {patched.path} were multiplied by a factor: what was made for the "
            "original does not fit them"
        )
    base, path = BaseModel(source), recorded_path(record)
    blocks, n_mtp = base.blocks, base.blocks.n_mtp
    if change is not None:  # what was made for the original's MTP blocks does not fit others
        n_mtp = 0
        path = LayerPath(step for step in path.steps if step.block < blocks.n_trunk)
    if not path.steps or max(path.blocks) >= len(blocks):
        raise damaged("blocks")
    target = Target(path, n_mtp, patched.header_sha256, file=patched)
    if not has_data_of(target, base):
        raise _other_data(source, patched)
    return target


def _target_of_several(
    source: GgufFile, patched: GgufFile, models: RecordedModels, number: int | None
) -> Target:
    identity = source.layout.n_bytes, source.header_sha256
    found = [n for n, model in sorted(models.models.items()) if tuple(model) == identity]
    which = "" if number is None else f" as model {number} of its layer path"
    if found and number not in (None, *found):
        raise _other_number(source, patched, found, which)
    if not found:
        made_from = [model.header_sha256 for _, model in sorted(models.models.items())]
        raise _not_made_from(source, patched, *made_from, which=which)
    base, path, digest = BaseModel(source), models.layer_path, patched.header_sha256
    numbers, n_mtp = found if number is None else [number], base.blocks.n_mtp
    targets = [Target(path, n_mtp, digest, n, models, patched) for n in numbers]
    n_blocks = len(base.blocks)
    if len(path) <= n_mtp or any(b >= n_blocks for t in targets for b in t.own_steps.blocks):
        raise damaged("blocks")
    targets = [target for target in targets if has_data_of(target, base)]
    if not targets:
        raise _other_data(source, patched, which)
    if len(targets) > 1:
        alike = " and ".join(str(target.number) for target in targets)
        raise SeveralNumbersError(
            f"models {alike} of the layer path {path} have the header of {source.path}, and its "
            "data: it is unclear which of them the companion is for"
        )
    return targets[0]


def _other_number(
    source: GgufFile, patched: GgufFile, numbers: Sequence[int], which: str
) -> RefusedError:
    """The error for a number that is not one of those that the source can have."""
    right = " and ".join(map(str, numbers))
    models = f"model {right} has" if len(numbers) == 1 else f"models {right} have"
    return RefusedError(
        f"{patched.path} was not made from {source.path}{which}, by its record",
        hint=f"On that path, {models} the header of this file. Without a number, its weights tell "
        "which it is.",
    )


def _other_data(source: GgufFile, patched: GgufFile, which: str = "") -> RefusedError:
    """The error for a model whose header alone is that of the right one."""
    return RefusedError(
        f"{patched.path} was not made from {source.path}{which}: their weights differ, though its "
        "record names a model with the same header",
        hint="Give the model that it was made from: fine-tunes of one base often have the same "
        "header.",
    )


def _made_in_steps(source: GgufFile, patched: GgufFile) -> bool:
    """Whether a file was made from the source by the first of several patches."""
    header = patched.header
    with suppress(RefusedError, MalformedFileError):  # earlier versions recorded less
        for _ in range(MOST_PATCHES):
            header = header_before(header, str(patched.path))
            record, models = read_provenance(header), read_models(header)
            if record is None:
                return False
            digests = {record.source_header_sha256}
            digests |= {each.header_sha256 for each in models.models.values()} if models else set()
            if source.header_sha256 in digests:
                return True
    return False


def _not_made_from(
    source: GgufFile, patched: GgufFile, *made_from: str, which: str = ""
) -> RefusedError:
    """The error for another source; `made_from` are the SHA-256 of the right ones' headers."""
    if _made_in_steps(source, patched):
        return RefusedError(
            f"{patched.path} was made from {source.path} by several patches, and its layer path is "
            "that of the last",
            hint="Re-index the companion for the file of each patch in turn, beginning with the "
            "first. Where such a file is gone, restoring the file made from it writes it again.",
        )
    begin = " or ".join(quoted(digest[:16]) for digest in dict.fromkeys(made_from))
    return RefusedError(
        f"{patched.path} was not made from {source.path}{which}, by its record",
        hint="Give a model that it was made from: its header has the SHA-256 that begins with "
        f"{begin}.",
    )
