"""Patches in place: messages before and after the edit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.terminal import (
    n_bytes_text,
    print_json,
    print_note,
    print_text,
    watched,
)
from ggufsurgeon.container.interrupted_edits import recover_command
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from ggufsurgeon.in_place.methods import InPlaceMethod
    from ggufsurgeon.planning.planner import PatchPlan


def check_destination(destination: Path | None, in_place: bool, is_of_new_file: bool) -> None:
    """Raise UsageError unless there is a destination, or --in-place, and nothing that excludes it.

    `is_of_new_file` says whether there are options of a new file.
    """
    if destination is None and not in_place:
        raise UsageError(
            "expected DEST, the file to write, or --in-place",
            hint="--in-place edits MODEL itself and keeps no copy of it.",
        )
    if destination is not None and in_place:
        raise UsageError(f"--in-place edits MODEL itself: {destination} would not be written")
    if in_place and is_of_new_file:
        raise UsageError("--in-place excludes --replace and --split-max-size")


def patch_in_place(plan: Callable[[Progress], gs.Plan], *, json: bool) -> None:
    """Plan a patch and write it into its source. Print the method before, and after it the command
    that undoes the patch."""
    planned = None
    try:
        with watched() as progress:
            planned = plan(progress)
            method = planned.choose_in_place()
            if method is not None:
                print_note(f"note: {_will(method)}")
            start = time.monotonic()
            method = planned.write_in_place(progress)
            seconds = time.monotonic() - start
        _tell(planned.planned, method, seconds, json=json)
    except Interrupted as interrupt:
        interrupt.state = _state(planned)
        raise


def _tell(planned: PatchPlan, method: InPlaceMethod | None, seconds: float, *, json: bool) -> None:
    from ggufsurgeon.cli.patching.plan_results import plan_as_json, print_plan

    source = planned.source.path
    if json:
        files = {"destination": str(source), "files": [str(source)]}
        print_json({**files, "in_place": _as_json(method, seconds), **plan_as_json(planned)})
        return
    print_plan(planned)
    print_text(_did(source, method, seconds))


def _will(method: InPlaceMethod) -> str:
    path = method.path
    if method.n_bytes_shared:
        return (
            f"{path} will be replaced by a new file that shares "
            f"{n_bytes_text(method.n_bytes_shared)} of its blocks; "
            f"{n_bytes_text(method.n_bytes_written)} are written{_of_readers(method)}"
        )
    if method.edit is None:
        return (
            f"{path} will be replaced by a new file of {n_bytes_text(method.n_bytes_written)}: "
            f"{method.why_new_file}{_of_readers(method)}"
        )
    inserted, appended = map(n_bytes_text, (method.n_bytes_inserted, method.edit.n_bytes_tail))
    return (
        f"{path} will be edited in place: {inserted} inserted before the data, {appended} "
        f"appended; if a crash interrupts this, run: {recover_command(path)}"
    )


def _of_readers(method: InPlaceMethod) -> str:
    """The processes that keep reading the old file, as the end of a sentence."""
    if not method.readers:
        return ""
    return f"; {', '.join(method.readers)} will keep reading the old file until it is reopened"


def _state(planned: gs.Plan | None) -> str:
    """The state of the model after an interruption."""
    from ggufsurgeon.api.model_files.in_place import is_done

    if planned is not None and is_done(planned.planned):
        return "The edit was finished before the command ended: the model is patched."
    return "The model is as it was."


def _did(source: Path, method: InPlaceMethod | None, seconds: float) -> str:
    if method is None:
        return f"left {source} as it is: the layer path changes nothing"
    if method.edit is not None:
        how = f"{n_bytes_text(method.n_bytes_inserted)} inserted"
    elif method.n_bytes_shared:
        shared = n_bytes_text(method.n_bytes_shared)
        how = f"replaced by a new file, {shared} shared with the old one"
    else:
        how = "replaced by a new file"
    undo = shell_command("ggufsurgeon", "restore", source, "DEST")
    return (
        f"patched {source} in place: {how}, {n_bytes_text(method.n_bytes_written)} written, in "
        f"{seconds:.2f} s; undo: {undo}"
    )


def _as_json(method: InPlaceMethod | None, seconds: float) -> dict[str, Any]:
    if method is None:
        return {"how": "unchanged"}
    return {
        "how": "inserted" if method.edit else "new file in its place",
        "n_bytes_inserted": method.n_bytes_inserted,
        "n_bytes_shared": method.n_bytes_shared,
        "n_bytes_written": method.n_bytes_written,
        "why_new_file": method.why_new_file or None,
        "readers_of_old_file": method.readers,
        "seconds": seconds,
    }


def forecast_text(planned: PatchPlan) -> str:
    """Whether MODEL can be patched in place, in a sentence."""
    from ggufsurgeon.api.model_files.in_place import forecast

    found = forecast(planned)
    if found.refusal:
        return f"in place: refused: {found.refusal}"
    if found.why_new_file:
        return f"in place: possible, by replacing it with a new file: {found.why_new_file}"
    if not found.n_bytes_inserted and not found.n_bytes_appended:
        return "in place: possible"
    inserted, appended = map(n_bytes_text, (found.n_bytes_inserted, found.n_bytes_appended))
    return (
        f"in place: possible; {inserted} inserted and {appended} appended (ext4, XFS), or replaced "
        "by a new file, which shares blocks with the old one where the file system supports it"
    )


def forecast_as_json(planned: PatchPlan) -> dict[str, Any]:
    """The same as JSON."""
    from ggufsurgeon.api.model_files.in_place import forecast

    found = forecast(planned)
    return {
        "is_possible": not found.refusal,
        "refusal": found.refusal or None,
        "n_bytes_inserted": found.n_bytes_inserted,
        "n_bytes_appended": found.n_bytes_appended,
        "why_new_file": found.why_new_file or None,
    }
