"""Law 5 when a call to the system fails: the n-th of all, for every n until none is left."""

from __future__ import annotations

import errno
import gc
import os
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.errors import GgufSurgeonError, PermissionsWarning
from ggufsurgeon.write_plan import CopySpan, WritePlan, ZeroSpan
from ggufsurgeon.writing.new_file import write_new_file
from ggufsurgeon.writing.placement import reservation
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import CopyMethod
from tests.writing.plans import listing, plan_over, result_of

PREFLIGHT = [(Path, "stat"), (os, "statvfs")]
WRITING = [
    (os, "open"),
    (os, "pread"),
    (os, "fstat"),
    (os, "lseek"),
    (reservation, "fallocate"),
    (os, "write"),
    (os, "sendfile"),
    (os, "fsync"),
    (os, "fchmod"),
    (os, "link"),
    (Path, "rename"),
    (Path, "replace"),
]
TIDYING = [(os, "close"), (os, "unlink")]
Calls = list[tuple[Any, str]]


class Faults:
    """Fails the n-th call with EIO and, when `for_good`, all behind it."""

    def __init__(self, first: int, *, for_good: bool) -> None:
        self.failed: list[str] = []
        self._first = first
        self._last = float("inf") if for_good else first
        self._n_calls = 0

    def into(self, calls: Calls, patched: pytest.MonkeyPatch) -> None:
        for owner, name in calls:
            patched.setattr(owner, name, self._faulty(name, getattr(owner, name)))

    def _faulty(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*arguments: Any, **options: Any) -> Any:
            self._n_calls += 1
            if not self._first <= self._n_calls <= self._last:
                return call(*arguments, **options)
            self.failed.append(name)
            if name == "close":  # Linux closes a descriptor even when it reports an error
                call(*arguments)
            raise OSError(errno.EIO, "Input/output error, injected")

        return attempt


@pytest.fixture
def plan(tmp_path: Path) -> WritePlan:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(200)))
    return plan_over([source], b"head", [CopySpan(0, 9, 90), ZeroSpan(8), CopySpan(0, 30, 100)])


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(PREFLIGHT, id="ask"),
        pytest.param(WRITING, id="write"),
        pytest.param(TIDYING, id="tidy"),
    ],
)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replace"])
@pytest.mark.parametrize("methods", [copying.METHODS, copying.METHODS[-1:]], ids=["fast", "safe"])
@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "named"])
def test_a_failing_call(
    tmp_path: Path,
    plan: WritePlan,
    calls: Calls,
    for_good: bool,
    old: bytes | None,
    methods: tuple[CopyMethod, ...],
    nameless: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    reached: set[str] = set()
    for first in count(1):
        folder = tmp_path / str(first)
        folder.mkdir()
        faults = Faults(first, for_good=for_good)
        write_through(faults, calls, methods, plan, folder, old)
        if not faults.failed:
            break
        reached.update(faults.failed)
    never = set() if old else {"fchmod", "replace"}
    never |= {"sendfile"} if len(methods) == 1 else set()
    never |= {"link"} if old and not nameless else set()
    names = {name for _, name in calls} - never
    assert names - reached <= {"rename"}, "not tested at all"


def write_through(
    faults: Faults,
    calls: Calls,
    methods: tuple[CopyMethod, ...],
    plan: WritePlan,
    folder: Path,
    old: bytes | None,
) -> None:
    """Write while calls fail: all holds that is promised, of the file and of the error."""
    destination = folder / "new"
    if old is not None:
        destination.write_bytes(old)
        destination.chmod(0o600)
    before, n_open, error = listing(folder), n_descriptors(), None
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        patched.setattr(copying, "METHODS", methods)
        faults.into(calls, patched)
        warnings.simplefilter("ignore", PermissionsWarning)
        try:
            write_new_file(plan, destination, replace=old is not None)
        except GgufSurgeonError as caught:
            error = caught
    after = listing(folder)
    if "unlink" in faults.failed:
        after = {name: told for name, told in after.items() if not name.startswith(".ggufsurgeon-")}
    # An error says that the destination is as it was: it must be that, not merely whole.
    assert after == ({"new": result_of(plan)} if error is None else before), (faults.failed, error)
    assert n_descriptors() == n_open, faults.failed
    assert Path(plan.sources[0].path).read_bytes() == bytes(range(200))


def n_descriptors() -> int:
    gc.collect()  # those that garbage of other tests still holds
    return len(list(Path("/proc/self/fd").iterdir()))
