"""The patched model that a companion is re-indexed for, as blocks of the companion's own model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ggufsurgeon.architectures.outside import is_before, is_behind
from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, SeveralNumbersError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels, read_models
from ggufsurgeon.planning.mtp_change.planning import recorded_mtp
from ggufsurgeon.planning.originals.source_pairs import damaged, no_record, recorded_path
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.provenance import is_scaled, read_provenance
from ggufsurgeon.rules.block_names import block_of


@dataclass(frozen=True)
class Target:
    """A patched model, and which of its parts are of the companion's model."""

    path: LayerPath
    """Its blocks, with MTP blocks behind them."""
    n_mtp: int
    """Number of MTP blocks in the path."""
    header_sha256: str
    number: int = 0
    """The number of the companion's model in the path."""
    models: RecordedModels | None = None
    """All models of a path over several."""
    file: GgufFile | None = None
    """The patched file, where it is given."""

    @property
    def blocks(self) -> tuple[int | None, ...]:
        """The block of the companion's model at each position; None for one of another model."""
        steps = self.path.steps
        return tuple(step.block if step.source == self.number else None for step in steps)

    @property
    def trunk(self) -> tuple[int | None, ...]:
        """`blocks` without MTP blocks."""
        return self.blocks[: len(self.path) - self.n_mtp]

    @property
    def own_steps(self) -> LayerPath:
        """The steps whose blocks are of the companion's model."""
        return LayerPath(step for step in self.path.steps if step.source == self.number)

    @property
    def has_embeddings(self) -> bool:
        """Whether the token embeddings are those of the companion's model."""
        return self.models is None or self.models.outside.embeddings == self.number

    def has(self, name: str, architecture: str) -> bool:
        """Whether a tensor that is in no block is that of the companion's model.

        What belongs to neither side of the blocks is the same in all models.
        """
        if self.models is None or block_of(name) is not None:
            return True
        if is_before(name, architecture):
            return self.has_embeddings
        return not is_behind(name, architecture) or self.models.outside.output == self.number


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

    `number` is that of `source` in the layer path, where several models have its header. Raises
    RefusedError when `patched` was not made from `source`, and SeveralNumbersError where the number
    is missing.
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
    path, blocks = recorded_path(record), BaseModel(source).blocks
    n_mtp = blocks.n_mtp
    if change is not None:  # what was made for the original's MTP blocks does not fit others
        n_mtp = 0
        path = LayerPath(step for step in path.steps if step.block < blocks.n_trunk)
    if not path.steps or max(path.blocks) >= len(blocks):
        raise damaged("blocks")
    return Target(path, n_mtp, patched.header_sha256, file=patched)


def _target_of_several(
    source: GgufFile, patched: GgufFile, models: RecordedModels, number: int | None
) -> Target:
    identity = source.layout.n_bytes, source.header_sha256
    found = [n for n, model in sorted(models.models.items()) if tuple(model) == identity]
    if not found or number not in (None, *found):
        which = "" if number is None else f" as model {number} of its layer path"
        made_from = [model.header_sha256 for _, model in sorted(models.models.items())]
        raise _not_made_from(source, patched, *made_from, which=which)
    if number is None and len(found) > 1:
        raise SeveralNumbersError(
            f"models {' and '.join(map(str, found))} of the layer path {models.layer_path} have "
            f"the header of {source.path}: it is unclear which of them the companion is for"
        )
    number = found[0] if number is None else number
    blocks = BaseModel(source).blocks
    target = Target(models.layer_path, blocks.n_mtp, patched.header_sha256, number, models, patched)
    if len(target.path) <= blocks.n_mtp or any(b >= len(blocks) for b in target.own_steps.blocks):
        raise damaged("blocks")
    return target


def _not_made_from(
    source: GgufFile, patched: GgufFile, *made_from: str, which: str = ""
) -> RefusedError:
    """The error for another source; `made_from` are the SHA-256 of the right ones' headers."""
    begin = " or ".join(quoted(digest[:16]) for digest in made_from)
    return RefusedError(
        f"{patched.path} was not made from {source.path}{which}, by its record",
        hint="Give a model that it was made from: its header has the SHA-256 that begins with "
        f"{begin}.",
    )
