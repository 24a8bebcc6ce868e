"""SHA-256 of files and tensors, against hashlib over the bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing import whole_file
from ggufsurgeon.hashing.tensor_hashes import hash_tensors
from ggufsurgeon.hashing.whole_file import content_sha256, hash_file
from tests.models.in_memory import opened
from tests.planning.drawing import models
from tests.writing.plans import Watcher

Write = Callable[..., Path]


def expected(file: GgufFile, data: bytes) -> tuple[str, ...]:
    sizes, view = file.layout.tensor_n_bytes, memoryview(data)
    return tuple(
        hashlib.sha256(view[file.offset_in_file(i) :][:n_bytes]).hexdigest()
        for i, n_bytes in enumerate(sizes)
    )


@given(models())
def test_every_byte_is_hashed_once(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("hashed") / "model.gguf"
    path.write_bytes(data)
    file, watcher = open_gguf(path), Watcher()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(whole_file, "AT_ONCE_N_BYTES", 7)
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


def test_an_interrupt_stops_the_threads(write: Write, stories: Path) -> None:
    class Interrupting(Watcher):
        def begin(self, step: str, total: int, unit: str) -> None:
            raise Interrupted

    with pytest.raises(Interrupted):
        hash_tensors([open_gguf(stories)], Interrupting())
