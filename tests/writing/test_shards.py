"""Law 5 for files in shards: none, or all, or a set that lacks its first and so is no model."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import (
    GgufSurgeonError,
    RefusedError,
    UsageError,
    VerificationError,
    WriteFailedError,
)
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.sharding import in_shards
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan, ZeroSpan
from ggufsurgeon.writing import contents
from ggufsurgeon.writing.new_file import write_new_shards
from tests.calls import plan
from tests.writing.dying import OVER
from tests.writing.plans import listing, plan_over, result_of, sparse_model, temporaries
from tests.writing.test_faults import PREFLIGHT, TIDYING, WRITING, Calls, Faults, n_descriptors
from tests.writing.test_full_disk import Meanwhile
from tests.writing.test_killed import run_dying
from tests.writing.test_publish import At

NAMES = ["a", "b", "c"]


@pytest.fixture
def plans(tmp_path: Path) -> list[WritePlan]:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(200)))
    spans: Sequence[Sequence[Span]] = (
        [CopySpan(0, 9, 90)],
        [CopySpan(0, 30, 100), ZeroSpan(8)],
        [CopySpan(0, 0, 200)],
    )
    return [plan_over([source], b"head", each) for each in spans]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def write(plans: list[WritePlan], folder: Path, **options: Any) -> None:
    write_new_shards(plans, [folder / name for name in NAMES], **options)


def complete(plans: list[WritePlan]) -> dict[str, object]:
    return {name: result_of(plan) for name, plan in zip(NAMES, plans, strict=True)}


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(PREFLIGHT, id="ask"),
        pytest.param(WRITING, id="write"),
        pytest.param(TIDYING, id="tidy"),
    ],
)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
def test_a_failing_call(
    tmp_path: Path, plans: list[WritePlan], calls: Calls, for_good: bool
) -> None:
    for first in count(1):
        folder = tmp_path / str(first)
        folder.mkdir()
        faults = Faults(first, for_good=for_good)
        n_open, error = n_descriptors(), None
        with pytest.MonkeyPatch.context() as patched:
            faults.into(calls, patched)
            try:
                write(plans, folder)
            except GgufSurgeonError as caught:
                error = caught
        if not faults.failed:
            break
        after = listing(folder)
        if "unlink" in faults.failed:
            after = {name: told for name, told in after.items() if name[0] != "."}
        assert after == (complete(plans) if error is None else {}), (faults.failed, error)
        assert n_descriptors() == n_open, faults.failed
    assert first > 5, "not tested at all"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("moment", ["begin", "end"])
def test_who_comes_in_between_stays(
    plans: list[WritePlan], folder: Path, moment: str, name: str
) -> None:
    theirs = At(moment, lambda: (folder / name).write_bytes(b"theirs"))
    with pytest.raises(RefusedError, match="exists"):
        write(plans, folder, progress=theirs)
    assert listing(folder) == {name: b"theirs"}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_replaced(plans: list[WritePlan], folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"theirs")
    with pytest.raises(RefusedError, match="exists") as caught:
        write(plans, folder)
    told = "Shards replace no files" if name == NAMES[0] else "Its first shard is missing"
    assert told in caught.value.hint
    assert listing(folder) == {name: b"theirs"}


def test_the_first_appears_last_and_all_are_durable_before(
    plans: list[WritePlan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(owner: Any, name: str, note: Callable[..., str]) -> None:
        call = getattr(owner, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            calls.append(note(*arguments))
            return call(*arguments, **options)

        monkeypatch.setattr(owner, name, wrapper)

    noted(os, "fsync", lambda fd: "sync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync")
    noted(os, "link", lambda _, path: path.name)
    write(plans, folder)
    assert calls == [*["sync"] * 3, "c", "b", "sync folder", "a", "sync folder"]


def test_room_for_all_is_asked_before_the_first_byte(
    plans: list[WritePlan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved: list[int] = []
    monkeypatch.setattr(
        contents, "reserve_new", lambda _, __, n_bytes, ___: reserved.append(n_bytes)
    )
    watch = Meanwhile(lambda: reserved.append(0), at_begin=False)
    write(plans, folder, progress=watch)
    assert reserved == [*(plan.n_bytes for plan in plans), 0]
    n_free = sum(plan.n_bytes for plan in plans) - 1
    monkeypatch.setattr(
        os, "statvfs", lambda _: os.statvfs_result((1, 1, n_free, n_free, n_free, *[0] * 5))
    )
    with pytest.raises(WriteFailedError, match=r"needs .* free"):
        write(plans, folder.parent)


@pytest.mark.parametrize("wrong", [None, *range(3)])
def test_each_must_have_the_sha256_that_is_asked_for(
    plans: list[WritePlan], folder: Path, wrong: int | None
) -> None:
    sha256s = [hashlib.sha256(result_of(plan)).hexdigest() for plan in plans]
    if wrong is None:
        write(plans, folder, sha256s=sha256s)
        assert listing(folder) == complete(plans)
        return
    sha256s[wrong] = "0" * 64
    with pytest.raises(VerificationError, match="it was not kept"):
        write(plans, folder, sha256s=sha256s)
    assert listing(folder) == {}


def test_links_that_cannot_be_made(
    plans: list[WritePlan], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT: files are renamed."""

    def refuse(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.delattr(os, "O_TMPFILE")
    write(plans, folder)
    assert listing(folder) == complete(plans)


def sharded(source: Path) -> dict[str, object]:
    """What must come of it, by name, and what must be told where the first is missing."""
    planned = plan(source, LayerPath("0..0,0..1"))
    plans = in_shards(planned.write_plan, 1_000_000)
    names = [f"new-{n + 1:05d}-of-{len(plans):05d}.gguf" for n in range(len(plans))]
    return {name: result_of(each) for name, each in zip(names, plans, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "n_shards", "kind"), [(SIGKILL, 3, "nameless"), (SIGTERM, 2, "named")]
)
def test_hit_at_every_moment(tmp_path: Path, number: int, n_shards: int, kind: str) -> None:
    source = sparse_model(tmp_path / "source.gguf", 2, 600_000 if n_shards == 3 else 400_000)
    expected, runs = sharded(source), tmp_path / "runs"
    assert len(expected) == n_shards
    *codes, last = run_dying(0, number, source, runs, kind, "", "--split-max-size", "1M")
    assert last == OVER
    assert set(codes) == {-SIGKILL if number == SIGKILL else 128 + number}
    n_partial = 0
    for moment in range(1, len(codes) + 1):
        folder = runs / str(moment)
        found = listing(folder)
        if number == SIGKILL:
            found = {name: told for name, told in found.items() if name[0] != "."}
        if found not in ({}, expected):
            n_partial += 1
            assert number == SIGKILL, moment
            assert_is_no_model(folder, found, expected)
    assert len(codes) > 5, "was it watched at all?"
    assert bool(n_partial) == (number == SIGKILL)


def assert_is_no_model(folder: Path, found: dict[str, object], expected: dict[str, object]) -> None:
    """Whole shards without the first, told as such."""
    first = min(expected)
    assert first not in found
    for name, told in found.items():
        assert told == expected[name]
        with pytest.raises(UsageError, match=f"{first} is missing"):
            open_gguf(folder / name)


@pytest.mark.slow
def test_shards_of_a_model_in_shards(tmp_path: Path) -> None:
    """Nothing is left of what wrote them."""
    source = sparse_model(tmp_path / "source.gguf", 3, 800_000)
    paths = gs.open(source).plan(gs.repeat("0:1")).write_shards(tmp_path / "new.gguf", 10**6)
    again = gs.open(paths[1]).plan(LayerPath.identity(4))
    third = again.write_shards(tmp_path / "third.gguf", 10**6)
    assert [path.read_bytes() for path in third] == [path.read_bytes() for path in paths]
    assert temporaries(tmp_path) == []
