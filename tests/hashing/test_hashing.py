"""SHA-256 of files and tensors, against hashlib over the bytes."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing import whole_file
from ggufsurgeon.hashing.tensor_hashes import hash_tensors
from ggufsurgeon.hashing.whole_file import content_sha256, hash_file
from tests.models.in_memory import opened
from tests.models.sharding import cut_evenly
from tests.planning.drawing import models
from tests.writing.plans import Watcher

unhurried = settings(deadline=None)

Write = Callable[..., Path]


def expected(file: GgufFile, data: bytes) -> tuple[str, ...]:
    sizes, view = file.layout.tensor_n_bytes, memoryview(data)
    return tuple(
        hashlib.sha256(view[file.offset_in_file(i) :][:n_bytes]).hexdigest()
        for i, n_bytes in enumerate(sizes)
    )


@unhurried
@given(models(), st.sampled_from([7, 64, 100, 1000]))
def test_every_byte_is_hashed_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, n_at_once: int
) -> None:
    """Also where several tensors are read at once."""
    path = tmp_path_factory.mktemp("hashed") / "model.gguf"
    path.write_bytes(data)
    file, watcher = open_gguf(path), Watcher()
    pread = os.pread
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(whole_file, "AT_ONCE_N_BYTES", n_at_once)
        patched.setattr(os, "pread", lambda file, n, at: pread(file, min(n, 5), at))
        hashes = hash_file(file, watcher)
        ((tensors),) = hash_tensors([file])
    assert hashes.sha256 == hashlib.sha256(data).hexdigest() == content_sha256(path)
    assert hashes.tensors == tensors == expected(opened(data), data)
    assert watcher.steps == [("SHA-256 of model.gguf", len(data), "bytes")]
    assert sum(watcher.advances) == len(data)


def test_several_files_at_once(stories: Path, smollm2: Path) -> None:
    files, watcher = [open_gguf(path) for path in (stories, smollm2, stories)], Watcher()
    found = hash_tensors(files, watcher)
    for file, hashes in zip(files, found, strict=True):
        assert hashes == expected(file, file.path.read_bytes())
    assert watcher.steps[0][1] == sum(watcher.advances)


def test_a_file_that_has_become_shorter_is_told(write: Write, stories: Path) -> None:
    path = write(stories.read_bytes())
    file = open_gguf(path)
    with path.open("r+b") as data:
        data.truncate(file.layout.n_bytes - 5000)
    for hashing in (hash_file, lambda file: hash_tensors([file])):
        with pytest.raises(UsageError, match="it was longer"):
            hashing(file)
    path.unlink()
    for hashing in (hash_file, lambda file: hash_tensors([file])):
        with pytest.raises(UsageError, match="No such file"):
            hashing(file)


class Interrupted(BaseException):
    """As a signal raises it, in the thread that waits."""


# A signal between the call that opens a file and what closes it leaves that to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seconds", [0.001, 0.003, 0.01, 0.03])
@pytest.mark.parametrize("hashing", [hash_file, lambda file: hash_tensors([file] * 20)])
def test_an_interrupt_stops_the_threads(
    smollm2: Path, hashing: Callable[[GgufFile], object], seconds: float
) -> None:
    """A signal reaches the main thread alone, at any moment: the others must end soon."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    gc.disable()  # an exception in a callback of its own would be lost
    file, before = open_gguf(smollm2), signal.signal(signal.SIGALRM, interrupt)
    n_threads, start = threading.active_count(), time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with pytest.raises(Interrupted):
            hashing(file)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert time.monotonic() - start < seconds + 0.5
    time.sleep(0.05)  # threads that have done their work are still on their way out
    assert threading.active_count() == n_threads


def test_shards_have_the_hashes_of_the_file_that_they_make(stories: Path, tmp_path: Path) -> None:
    """Their tensors lie in several files, at places of their own."""
    shards = cut_evenly(stories, tmp_path / "model.gguf", 3)
    joined = tmp_path / "joined.gguf"
    gs.open(shards[1]).plan(gs.LayerPath("0..4")).write(joined)
    found, expected_ = hash_file(open_gguf(shards[1])), hash_file(open_gguf(joined))
    assert found.shards == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in shards)
    assert replace(found, shards=()) == expected_
    assert content_sha256(shards[0]) == hashlib.sha256(joined.read_bytes()).hexdigest()
    assert hash_tensors([open_gguf(shards[2])]) == hash_tensors([open_gguf(stories)])
