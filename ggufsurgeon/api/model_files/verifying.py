"""Verification of a patched file against its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.locating.locate import local_file
from ggufsurgeon.planning.mtp_change.planning import source_with_mtp
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.api.model_files.plans import Plan
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.verification.verifier import Verification


def verify(
    patched: PathLike,
    source: PathLike,
    *,
    others: Sequence[PathLike] = (),
    recipe: Plan | None = None,
    mtp_from: PathLike | None = None,
    settings: TextSettings | None = None,
    devices: Devices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    `others` are models 1, 2, ... of a path over several models. `recipe` is the plan of a recipe
    over the same files (`ModelFile.plan_recipe`); `patched` must then be the file of this plan.
    `mtp_from` is the file that the MTP blocks were taken from; UsageError is raised where `patched`
    has none of another file. With `settings` the perplexity of the source and the patched file is
    measured as well, which takes far longer than all else. The outcome lists each check; its
    `raise_if_failed` raises VerificationError.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     gs.verify(patched, source).ok
    True
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.verification.structures.mtp_blocks import check_is_of_donor, check_mtp_blocks
    from ggufsurgeon.verification.structures.plan_check import check_plan
    from ggufsurgeon.verification.verifier import verify_patched

    made, *sources = [open_gguf(local_file(path, progress)) for path in (patched, source, *others)]
    donor = None if mtp_from is None else open_gguf(local_file(mtp_from, progress))
    if donor is not None:
        check_is_of_donor(made, donor)
    before, after = [], []
    changed = source_with_mtp(made, sources[0], donor)
    if changed is not None:
        before = [check_mtp_blocks(changed, sources[0], donor)]
        sources = [changed, *sources[1:]]  # others than one model are refused
    if recipe is not None:
        after = [check_plan(made, recipe.planned, "recipe")]
    outcome = verify_patched(made, sources, settings, devices or Devices(), progress)
    return replace(outcome, checks=(*before, *outcome.checks, *after))
