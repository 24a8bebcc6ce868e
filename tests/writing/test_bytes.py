"""Laws 3 and 4: a plan gives its bytes by every method, through short and failing calls."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.write_plan import CopySpan, Span, WritePlan, ZeroSpan
from ggufsurgeon.writing.digests import sha256_of_plan
from ggufsurgeon.writing.new_file import write_new_file
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import Copier, CopyMethod
from tests.calls import plan as plan_patch
from tests.writing.plans import Watcher, plan_over, result_of, spans

SIZES = (1000, 24)
each_method = pytest.mark.parametrize("method", copying.METHODS, ids=lambda method: method.__name__)
disk = settings(deadline=None, max_examples=60)  # each is synced to the disk
steps = st.integers(1, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    for index, n_bytes in enumerate(SIZES):
        # Any 3 bytes of the first source are found once only: a wrong offset shows.
        content = b"".join(n.to_bytes(2, "big") for n in range(1 + index, 501 + index))
        (folder / f"source-{index}").write_bytes(content[:n_bytes])
    return folder


@st.composite
def any_plan(draw: st.DrawFn) -> tuple[bytes, list[Span]]:
    return draw(st.binary(max_size=100)), draw(spans(SIZES))


Parts = tuple[bytes, "list[Span]"]


def over(folder: Path, parts: Parts) -> WritePlan:
    return plan_over([folder / f"source-{index}" for index in range(len(SIZES))], *parts)


@contextmanager
def steps_of(chunk: int, buffer: int, *methods: CopyMethod) -> Iterator[pytest.MonkeyPatch]:
    """Small chunks and buffers, so that small files take many; these methods alone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying, "CHUNK_N_BYTES", chunk)
        patched.setattr(copying, "BUFFER_N_BYTES", buffer)
        patched.setattr(copying, "METHODS", methods or copying.METHODS)
        yield patched


def written(plan: WritePlan, folder: Path) -> bytes:
    destination = folder / "new"
    destination.unlink(missing_ok=True)
    write_new_file(plan, destination)
    return destination.read_bytes()


def at_most(n_bytes: int, method: CopyMethod) -> CopyMethod:
    """A method that copies short, as any may."""
    return lambda to, source, at, n: method(to, source, at, min(n, n_bytes))


def fails_after(n_calls: int, method: CopyMethod) -> CopyMethod:
    """A method that ends, as sendfile(2) does where a file system lacks it."""
    left = iter(range(n_calls))

    def fail(to: int, source: int, at: int, n: int) -> int:
        if next(left, None) is None:
            raise OSError(errno.EINVAL, "Invalid argument")
        return method(to, source, at, n)

    return fail


@each_method
@disk
@given(any_plan(), steps, steps)
def test_each_method_alone(
    folder: Path, method: CopyMethod, parts: Parts, chunk: int, buffer: int
) -> None:
    plan = over(folder, parts)
    with steps_of(chunk, buffer, method):
        assert written(plan, folder) == result_of(plan)
        hashed = sha256_of_plan(plan, "hashing", NO_PROGRESS)
    assert hashed == hashlib.sha256(result_of(plan)).hexdigest()
    assert plan.n_bytes == len(result_of(plan))


@each_method
@disk
@given(any_plan(), steps)
def test_methods_that_copy_short(
    folder: Path, method: CopyMethod, parts: Parts, n_bytes: int
) -> None:
    plan = over(folder, parts)
    with steps_of(64, 64, at_most(n_bytes, method)):
        assert written(plan, folder) == result_of(plan)


@disk
@given(any_plan(), st.integers(0, 20), steps)
def test_a_method_that_ends_halfway(folder: Path, parts: Parts, n_calls: int, n_bytes: int) -> None:
    plan = over(folder, parts)
    fast, safe = copying.METHODS
    with steps_of(64, 64, fails_after(n_calls, at_most(n_bytes, fast)), safe):
        assert written(plan, folder) == result_of(plan)


@disk
@given(any_plan(), steps, steps)
def test_short_reads_and_writes(folder: Path, parts: Parts, n_read: int, n_written: int) -> None:
    plan = over(folder, parts)
    read, write = os.pread, os.write
    with steps_of(64, 64, copying.copy_through_buffer) as patched:
        # The header's check may read short only behind its first 24 bytes.
        patched.setattr(os, "pread", lambda f, n, at: read(f, min(n, max(n_read, 24)), at))
        patched.setattr(os, "write", lambda f, data: write(f, data[:n_written]))
        assert written(plan, folder) == result_of(plan)


def test_sendfile_refused_by_the_kernel(folder: Path) -> None:
    plan = over(folder, (b"head", [CopySpan(0, 10, 500), ZeroSpan(3), CopySpan(0, 0, 20)]))
    descriptor = os.open(folder / "appended", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    source = os.open(folder / "source-0", os.O_RDONLY)
    with pytest.raises(OSError, match="Invalid argument"):  # it is: sendfile(2) wants no O_APPEND
        os.sendfile(descriptor, source, 0, 1)
    copier = Copier(descriptor, NO_PROGRESS)
    copier.write(plan.header)
    copier.copy(source, 10, 500)
    copier.write_zeros(3)
    copier.copy(source, 0, 20)
    os.close(descriptor)
    os.close(source)
    assert (folder / "appended").read_bytes() == result_of(plan)


@each_method
def test_at_the_sizes_that_are_used(tmp_path: Path, method: CopyMethod) -> None:
    n_bytes = copying.CHUNK_N_BYTES + 2 * copying.BUFFER_N_BYTES + 7
    source = tmp_path / "source"
    source.write_bytes(os.urandom(n_bytes))
    zeros = ZeroSpan(copying.BUFFER_N_BYTES + 3)
    plan = plan_over([source], b"head", [CopySpan(0, 5, n_bytes - 5), zeros, CopySpan(0, 0, 9)])
    watcher = Watcher()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying, "METHODS", (method,))
        write_new_file(plan, tmp_path / "new", progress=watcher)
    assert (tmp_path / "new").read_bytes() == result_of(plan)
    assert watcher.steps == [("writing", plan.n_bytes, "bytes")]
    assert sum(watcher.advances) == plan.n_bytes
    assert max(watcher.advances) <= copying.CHUNK_N_BYTES


@pytest.mark.parametrize("blocks", [[0, 1, 2, 3, 4], [0, 1, 2, 1, 2, 3, 4], [4, 0, 0]], ids=str)
@pytest.mark.parametrize("methods", [copying.METHODS, *((method,) for method in copying.METHODS)])
def test_a_real_model(
    stories: Path, tmp_path: Path, blocks: list[int], methods: tuple[CopyMethod, ...]
) -> None:
    plan = plan_patch(stories, LayerPath.of(blocks)).write_plan
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying, "METHODS", methods)
        assert written(plan, tmp_path) == result_of(plan)
