"""`ggufsurgeon selftest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ggufsurgeon.cli.output.terminal import print_json, print_table, print_text, watched
from ggufsurgeon.cli.shared_options.device_options import with_device_options
from ggufsurgeon.cli.shared_options.options import Json, Quiet
from ggufsurgeon.errors import VerificationError
from ggufsurgeon.own_version import own_version

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.selftest.checks import Outcome

MARKS = {True: "ok", False: "FAILED", None: "skipped"}


@with_device_options
def selftest(*, devices: Devices, json: Json = False, quiet: Quiet = False) -> None:
    """Check an installation: patch a tiny model in several ways, and prove the files.

    The model is made in a temporary folder. Without the extra llama, files are proven but not run.
    """
    from ggufsurgeon.selftest.checks import run_selftest

    own_version()  # what is not installed cannot be checked
    if devices.n_threads is None:  # a tiny model is computed fastest by one thread
        devices = replace(devices, n_threads=1)
    with TemporaryDirectory(prefix="ggufsurgeon-selftest-") as folder, watched() as progress:
        outcomes = tuple(run_selftest(Path(folder), devices, progress))
    if json:
        checks = [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in outcomes]
        print_json({"ok": _is_ok(outcomes), "checks": checks})
    else:
        rows = [(each.name, MARKS[each.ok], each.detail) for each in outcomes]
        print_table("Selftest", ["check", "", "detail"], rows)
        print_text(_summary(outcomes))
    failed = [each.name for each in outcomes if each.ok is False]
    if failed:
        raise VerificationError(f"the selftest failed: {', '.join(failed)}")


def _is_ok(outcomes: Sequence[Outcome]) -> bool | None:
    """Whether all held: False where one failed, None where none failed and some were skipped."""
    found = {each.ok for each in outcomes}
    return False if False in found else None if None in found else True


def _summary(outcomes: Sequence[Outcome]) -> str:
    counts = {mark: sum(each.ok is ok for each in outcomes) for ok, mark in MARKS.items()}
    return ", ".join(f"{count} {mark}" for mark, count in counts.items() if count)
