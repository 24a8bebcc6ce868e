"""The proof of a file that patch has just written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.terminal import watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices
from ggufsurgeon.errors import EngineError, GgufSurgeonError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.planning.rebuilding.recipes import Recipe
    from ggufsurgeon.verification.verifier import Verification


def check_can_be_verified(recipe: Recipe) -> None:
    """Raise UsageError where the new file is not made of its source in one patch."""
    if len(recipe.patches) > 1:
        raise UsageError(
            "--verify compares a file with its source, and this recipe has "
            f"{len(recipe.patches)} patches: the file between them is never written",
            hint="Omit --verify: the SHA-256 of the recipe's result is checked in any case.",
        )


def check_devices(devices: Devices, *, verify: bool) -> None:
    """Raise UsageError for options of devices where no model is run."""
    from ggufsurgeon.engine.devices.options import Devices

    if devices != Devices() and not verify:
        raise UsageError(
            "options of devices are for --verify: without it, patch runs no model",
            hint="Omit them, or add --verify.",
        )


def verified(
    sources: Sequence[Path], mtp_from: Path | None, written: Path, devices: Devices
) -> Verification:
    """The verification of a file that was written from some sources, run on these devices."""
    first, *others = sources
    with telling_that_it_is_written(written):
        with gs.load(written, devices) as loaded, suppress(MissingExtraError, EngineError):
            tell_devices(loaded, devices)
        with watched() as progress:
            return gs.verify(
                written,
                first,
                others=others,
                mtp_from=mtp_from,
                devices=devices,
                progress=progress,
            )


@contextmanager
def telling_that_it_is_written(written: Path) -> Iterator[None]:
    """Errors and interruptions within the block say that the file is there."""
    try:
        yield
    except GgufSurgeonError as error:
        error.state = f"{written} was written."
        raise
    except Interrupted as interrupt:
        interrupt.state = f"{written} was written, but not proven."
        raise


def raise_if_failed(outcome: Verification | None) -> None:
    """Raise the error of a verification that failed, or could not be finished."""
    if outcome is None:
        return
    try:
        outcome.raise_if_failed()
    except GgufSurgeonError as error:
        error.state = f"{outcome.patched} was written."
        raise
