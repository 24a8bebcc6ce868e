"""Recovery from each state that a crash can leave, and refusal of any other state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.interrupted_edits import journal_path
from ggufsurgeon.errors import InterruptedEditError, RefusedError, UsageError
from ggufsurgeon.in_place.edit import InsertingEdit, find_edit
from ggufsurgeon.in_place.journal import DIGEST_N_BYTES, Journal, journal_of, write_journal
from ggufsurgeon.in_place.recovery import Recovery, recover
from ggufsurgeon.in_place.steps import INSERT_RANGE, append_tail
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.writing.placement.reservation import fallocate
from ggufsurgeon.writing.span_writers.copying import write_at
from tests.in_place.disks import model_of, plan_that_inserts, skip_unless_inserting
from tests.writing.plans import listing, result_of

N_INSERTED = 8192
BLOCK = 4096


class Begun:
    """A file in the middle of an edit, whose journal is written."""

    def __init__(self, folder: Path, *, n_behind: int = 5000, n_inserted: int = N_INSERTED) -> None:
        self.path = folder / "model.gguf"
        self.old = bytes(n % 251 for n in range(40_000))
        self.path.write_bytes(self.old)
        plan = plan_that_inserts(self.path, n_behind=n_behind, n_inserted=n_inserted)
        spans = (*plan.spans, *plan.spans[1:2] * 2)
        plan = type(plan)(plan.sources, plan.header, spans)
        self.new = result_of(plan)
        self.edit: InsertingEdit = find_edit(plan)
        with self.opened() as descriptor:
            self.journal: Journal = journal_of(self.edit, descriptor)
        write_journal(self.journal, journal_path(self.path))

    @contextmanager
    def opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def append(self) -> None:
        with self.opened() as descriptor:
            append_tail(descriptor, self.edit, self.journal, NO_PROGRESS)

    def insert(self, at: int) -> None:
        """As a crash leaves it that comes when only the blocks from `at` on have moved."""
        with self.opened() as descriptor:
            if at < self.journal.n_bytes_with_tail:
                fallocate(descriptor, INSERT_RANGE, at, self.journal.n_bytes_inserted)
            else:
                os.ftruncate(descriptor, self.journal.n_bytes_new)
            os.fsync(descriptor)

    def assert_is(self, content: bytes) -> None:
        assert listing(self.path.parent) == {self.path.name: content}
        assert recover(self.path) is Recovery.NOTHING


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    skip_unless_inserting(tmp_path)
    return Begun(tmp_path)


def test_nothing_but_the_journal(begun: Begun) -> None:
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


@pytest.mark.parametrize("n_written", [1, 4000, 5000, 6000, 8000])
def test_a_part_of_the_tail(begun: Begun, n_written: int) -> None:
    with begun.opened() as descriptor:
        write_at(descriptor, b"?" * n_written, begun.edit.unmoved_end)
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


def test_the_tail(begun: Begun) -> None:
    begun.append()
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


@pytest.mark.parametrize("at", [*range(BLOCK, 40_001 + BLOCK, BLOCK), 1 << 20])
def test_an_insertion_that_has_moved_a_part(begun: Begun, at: int) -> None:
    begun.append()
    begun.insert(at)
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


@pytest.mark.parametrize("n_written", [0, 1, BLOCK, N_INSERTED, N_INSERTED + 20, N_INSERTED + 40])
def test_an_insertion_is_finished(begun: Begun, n_written: int) -> None:
    begun.append()
    begun.insert(0)
    with begun.opened() as descriptor:
        write_at(descriptor, begun.journal.after[:n_written], 0)
    assert recover(begun.path) is Recovery.FINISHED
    begun.assert_is(begun.new)


@pytest.mark.parametrize("n_written", [0, 17, 40])
def test_a_header_that_needs_no_room(tmp_path: Path, n_written: int) -> None:
    skip_unless_inserting(tmp_path)
    begun = Begun(tmp_path, n_inserted=0)
    begun.append()
    with begun.opened() as descriptor:
        write_at(descriptor, begun.journal.after[:n_written], 0)
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


def test_a_model_that_waits_for_recovery_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model_of(3))
    (tmp_path / "link.gguf").symlink_to(path)
    journal_path(path).write_bytes(b"")
    for name in (path, tmp_path / "link.gguf"):
        with pytest.raises(InterruptedEditError, match="interrupted") as caught:
            gs.open(name)
        assert caught.value.exit_code == 4
        assert caught.value.hint.endswith(f"ggufsurgeon recover {path}")


Change = Callable[[Begun], object]


def set_byte(begun: Begun, at: int) -> None:
    with begun.opened() as descriptor:
        os.pwrite(descriptor, b"!", at)


def resize(begun: Begun, n_bytes: int) -> None:
    os.truncate(begun.path, n_bytes)


def punch(begun: Begun) -> None:
    """A hole that no edit makes."""
    begun.append()
    begun.insert(BLOCK)
    with begun.opened() as descriptor:
        fallocate(descriptor, 0x02 | 0x01, 5 * BLOCK, BLOCK)


def damage_journal(begun: Begun, at: int) -> None:
    content = bytearray(journal_path(begun.path).read_bytes())
    content[at] ^= 1
    journal_path(begun.path).write_bytes(content)


def cut_journal(begun: Begun, n_bytes: int) -> None:
    os.truncate(journal_path(begun.path), n_bytes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda begun: set_byte(begun, 39), "has the header of neither", id="header"),
        pytest.param(lambda begun: set_byte(begun, 40), "has other data", id="first-of-the-data"),
        pytest.param(
            lambda begun: set_byte(begun, 34_999), "has other data", id="last-of-the-data"
        ),
        pytest.param(lambda begun: resize(begun, 39_999), "its size, 39,999 bytes", id="shorter"),
        pytest.param(lambda begun: resize(begun, 1 << 20), "its size, 1,048,576", id="longer"),
        pytest.param(punch, "has other data", id="another-hole"),
        pytest.param(lambda begun: damage_journal(begun, 0), "is damaged", id="journal-first"),
        pytest.param(lambda begun: damage_journal(begun, 200), "is damaged", id="journal-number"),
        pytest.param(lambda begun: damage_journal(begun, -1), "is damaged", id="journal-digest"),
        pytest.param(lambda begun: damage_journal(begun, -99), "is damaged", id="journal-part"),
        pytest.param(lambda begun: cut_journal(begun, 0), "is damaged", id="journal-empty"),
        pytest.param(lambda begun: cut_journal(begun, 400), "is damaged", id="journal-torn"),
        pytest.param(
            lambda begun: cut_journal(begun, DIGEST_N_BYTES), "is damaged", id="journal-short"
        ),
    ],
)
def test_what_does_not_fit_is_left_alone(begun: Begun, change: Change, says: str) -> None:
    change(begun)
    before = listing(begun.path.parent)
    with pytest.raises(RefusedError, match=says) as caught:
        recover(begun.path)
    assert "remove the journal" in caught.value.hint
    assert listing(begun.path.parent) == before


def test_not_while_another_has_it_open(begun: Begun) -> None:
    begun.append()
    with begun.path.open("rb"), pytest.raises(RefusedError, match="is open in this process"):
        recover(begun.path)
    assert journal_path(begun.path).exists()
    assert recover(begun.path) is Recovery.UNDONE
    begun.assert_is(begun.old)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        gs.ModelFile.recover(tmp_path / "missing.gguf")
    journal_path(tmp_path / "missing.gguf").write_bytes(b"")
    with pytest.raises(UsageError, match="no such file"):
        gs.ModelFile.recover(tmp_path / "missing.gguf")


def test_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model_of(3))
    journal_path(path).mkdir()
    with pytest.raises(RefusedError, match="is a folder, where the journal") as caught:
        recover(path)
    assert caught.value.hint == "No edit leaves that: rename or remove it."
    assert journal_path(path).is_dir()
