"""The proof of a file that patch has just written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ggufsurgeon as gs
from ggufsurgeon.cli.terminal import watched
from ggufsurgeon.errors import GgufSurgeonError, UsageError

if TYPE_CHECKING:
    from ggufsurgeon.verification.verifier import Verification


def check_can_be_verified(planned: gs.Plan) -> None:
    """Raise UsageError where the new file is not made of its source in one patch."""
    if planned.recipe is not None and len(planned.recipe.patches) > 1:
        raise UsageError(
            "--verify compares a file with that which it was patched from, and this recipe has "
            f"{len(planned.recipe.patches)} patches: the file between them is never written",
            hint="The SHA-256 of the recipe's result is checked without it.",
        )


def verified(planned: gs.Plan, written: Path) -> Verification:
    """What verify finds of a file, which was written by a plan."""
    sources = [file.path for file in (planned.planned.source, *planned.planned.others)]
    with watched() as progress:
        return gs.verify(written, sources[0], others=sources[1:], progress=progress)


def raise_if_failed(outcome: Verification | None) -> None:
    """Raise the error of a verification that failed, or could not be finished."""
    if outcome is None:
        return
    try:
        outcome.raise_if_failed()
    except GgufSurgeonError as error:
        error.state = f"{outcome.patched} was written."
        raise
