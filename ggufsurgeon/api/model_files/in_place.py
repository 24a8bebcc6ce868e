"""Edits of model files in place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import GgufSurgeonError, RefusedError, UsageError, VerificationError
from ggufsurgeon.locating.locate import check_on_disk
from ggufsurgeon.planning.in_place import changes_nothing, check_in_place
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from ggufsurgeon.in_place.methods import InPlaceMethod
    from ggufsurgeon.in_place.recovery import Recovery


@dataclass(frozen=True)
class Forecast:
    """What an edit in place would do to the source as it is now."""

    refusal: str = ""
    """Why it would be refused; empty if it is possible."""
    n_bytes_inserted: int = 0
    n_bytes_appended: int = 0
    why_new_file: str = ""
    """Why a whole new file would replace the old one; empty if that is not necessary."""


def forecast(planned: PatchPlan) -> Forecast:
    """What an edit in place would do to the source as it is now. Nothing is changed."""
    from ggufsurgeon.in_place.edit import CannotInsertError, find_edit

    try:
        check_on_disk(planned.source)
        check_in_place(planned)
    except RefusedError as error:
        return Forecast(refusal=str(error))
    if changes_nothing(planned):
        return Forecast()
    try:
        edit = find_edit(planned.write_plan)
        method = choose(planned)
    except CannotInsertError as error:
        return Forecast(why_new_file=str(error))
    except GgufSurgeonError as error:
        return Forecast(refusal=str(error))
    if method is not None and method.why_new_file:
        return Forecast(why_new_file=method.why_new_file)
    return Forecast("", edit.n_bytes_inserted, edit.n_bytes_tail)


def choose(planned: PatchPlan) -> InPlaceMethod | None:
    """How the source would be edited; None if nothing changes. Raises as `write`."""
    from ggufsurgeon.in_place.methods import choose_method

    check_on_disk(planned.source)
    check_in_place(planned)
    if changes_nothing(planned):
        return None
    return choose_method(planned.write_plan, planned.source.path)


def write(planned: PatchPlan, sha256: str | None, progress: Progress) -> InPlaceMethod | None:
    """Make the source the planned file. Raises as `Plan.write_in_place`."""
    from ggufsurgeon.in_place.methods import edit_in_place

    check_on_disk(planned.source)
    check_in_place(planned)
    if changes_nothing(planned):
        return None
    if sha256 is not None:
        _check_sha256(planned, sha256, progress)
    return edit_in_place(planned.write_plan, planned.source.path, progress)


def _check_sha256(planned: PatchPlan, expected: str, progress: Progress) -> None:
    """Raise VerificationError unless what would be written has this SHA-256."""
    from ggufsurgeon.writing.digests import sha256_of_plan

    found = sha256_of_plan(planned.write_plan, "checking SHA-256", progress)
    if found != expected:
        raise VerificationError(
            f"the patched file would have the SHA-256 {found}, expected {expected}: "
            f"{planned.source.path} is unchanged"
        )


def is_done(planned: PatchPlan) -> bool:
    """Whether the source starts with the header of the planned file."""
    header = planned.write_plan.header
    with planned.source.path.open("rb") as file:
        return file.read(len(header)) == header


def recover_file(path: str | os.PathLike[str]) -> Recovery:
    """Undo or finish an interrupted edit. Raises as `ModelFile.recover`."""
    from ggufsurgeon.in_place.recovery import recover

    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder: expected a GGUF file")
    if not Path(path).is_file():
        raise UsageError(f"{path}: there is no such file")
    outcome = recover(Path(path))
    open_gguf(path)
    return outcome
