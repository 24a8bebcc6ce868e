"""Verification of a patched file against its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.locating.locate import local_file
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.api.plans import Plan
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.verification.verifier import Verification


def verify(
    patched: PathLike,
    source: PathLike,
    *,
    others: Sequence[PathLike] = (),
    recipe: Plan | None = None,
    settings: TextSettings | None = None,
    devices: Devices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    `others` are the models 1, 2, ... of a path over several. `recipe` is the plan of a recipe over
    the same files, which `patched` must also be the file of (`ModelFile.plan_recipe`). With
    `settings` the perplexity of the source and the patched file is measured as well, which takes
    far longer than all else. The outcome lists each check; its `raise_if_failed` raises
    VerificationError.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     gs.verify(patched, source).ok
    True
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.verification.plan_check import check_plan
    from ggufsurgeon.verification.verifier import verify_patched

    file, *sources = [open_gguf(local_file(path, progress)) for path in (patched, source, *others)]
    outcome = verify_patched(file, sources, settings, devices or Devices(), progress)
    if recipe is None:
        return outcome
    check = check_plan(file, recipe.planned, "recipe")
    return replace(outcome, checks=(*outcome.checks, check))
