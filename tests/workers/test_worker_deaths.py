"""Workers whose process dies, and processes whose parent does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import EngineError, MalformedFileError, OutOfMemoryError, UsageError
from ggufsurgeon.workers.crash import Death, crash_error
from ggufsurgeon.workers.worker import Worker
from tests.conftest import ROOT
from tests.models.expanding import expand_named
from tests.workers.jobs import (
    add,
    ask_for_too_much,
    babble,
    comes_true,
    decode_lengths,
    die,
    die_after_a_failed_load,
    die_before_a_run,
    die_of_another,
    die_saying,
    give_what_no_pickle_holds,
    is_alive,
    sleep,
    stumble,
)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGABRT, r"died in the job die \(SIGABRT\): GGML_ASSERT\(x\) failed"),
        (signal.SIGILL, r"died in the job die \(SIGILL\): .* built for another CPU"),
    ],
)
def test_a_death_names_the_job_and_no_file(number: int, told: str) -> None:
    with Worker() as worker:
        with pytest.raises(EngineError, match=told) as caught:
            worker.run(die, number)
        assert caught.value.exit_code == 9
        assert caught.value.hint


CUDA = """ggml_cuda_init: found 1 CUDA devices
CUDA error: out of memory
  current device: 0, in function alloc at /src/ggml/src/ggml-cuda/ggml-cuda.cu:551
  cuMemCreate(&handle, reserve_size, &prop, 0)
/src/ggml/src/ggml-cuda/ggml-cuda.cu:103: CUDA error
"""
CPP = """terminate called after throwing an instance of 'std::bad_alloc'
  what():  std::bad_alloc
"""
VULKAN = """terminate called after throwing an instance of 'vk::OutOfDeviceMemoryError'
  what():  vk::Device::allocateMemory: ErrorOutOfDeviceMemory
"""
LONG_AGO = "failed to allocate a pinned buffer\n" + "loaded\n" * 8 + "GGML_ASSERT(x) failed\n"


@pytest.mark.parametrize(
    ("printed", "told", "hint"),
    [
        (CUDA, "a device has no memory left: CUDA error: out of memory", "fewer GPU layers"),
        (VULKAN, "a device has no memory left: .*OutOfDeviceMemoryError", "fewer GPU layers"),
        (CPP, "the system has no memory left: .*bad_alloc", "smaller model"),
    ],
)
def test_an_abort_for_lack_of_memory_names_it(printed: str, told: str, hint: str) -> None:
    with Worker() as worker, pytest.raises(OutOfMemoryError, match=told) as caught:
        worker.run(die_saying, printed, signal.SIGABRT)
    assert caught.value.exit_code == 6 and hint in caught.value.hint


NO_KERNEL = """CUDA error: no kernel image is available for execution on the device
  current device: 0, in function ggml_cuda_compute_forward at /x/ggml-cuda.cu:2363
  err
/x/ggml/src/ggml-cuda/ggml-cuda.cu:88: CUDA error
"""
ILLEGAL_ACCESS = NO_KERNEL.replace(
    "no kernel image is available for execution on the device",
    "an illegal memory access was encountered",
)
ROCBLAS = "rocBLAS error: Cannot read /opt/rocm/TensileLibrary.dat: Illegal seek for GPU : gfx1031"


@pytest.mark.parametrize(
    ("printed", "told", "hint"),
    [
        (NO_KERNEL, "no code for the GPU: CUDA error: no kernel image", "for this GPU"),
        (ROCBLAS, "no code for the GPU: rocBLAS error", "for this GPU"),
        (ILLEGAL_ACCESS, "a GPU failed: CUDA error: an illegal memory access", "fewer GPU layers"),
    ],
)
def test_a_gpu_that_fails_is_no_fault_of_a_file(
    stories: Path, printed: str, told: str, hint: str
) -> None:
    death = Death(-signal.SIGABRT, printed, "job", suspect=stories)
    error = crash_error(death)
    assert isinstance(error, EngineError) and error.exit_code == 9
    assert told in str(error) and hint in error.hint


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT])
@pytest.mark.parametrize("suspect", [None, Path("model.gguf")])
def test_every_crash_says_what_to_do_next(number: int, suspect: Path | None) -> None:
    error = crash_error(Death(-number, "", "job", suspect))
    assert isinstance(error, EngineError if suspect is None else MalformedFileError)
    assert "SHA-256" in error.hint or "another version" in error.hint


def test_an_allocation_that_failed_long_before_is_not_the_cause() -> None:
    with Worker() as worker, pytest.raises(EngineError, match=r"GGML_ASSERT") as caught:
        worker.run(die_saying, LONG_AGO, signal.SIGABRT)
    assert caught.value.exit_code == 9


def test_an_array_that_memory_does_not_hold() -> None:
    """The process lives on."""
    with Worker() as worker:
        with pytest.raises(OutOfMemoryError, match=r"Unable to allocate 1\.00 EiB") as caught:
            worker.run(ask_for_too_much)
        assert caught.value.hint
        assert worker.run(add, 1, 1) == 2


def test_a_worker_whose_process_died_says_so_and_starts_no_other() -> None:
    """Its models are gone: the caller decides whether they are loaded again."""
    with Worker() as worker:
        with pytest.raises(EngineError):
            worker.run(die, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(EngineError, match="ended in an earlier job, die") as caught:
                worker.run(add, 1, 1)
        assert caught.value.hint and worker.pid is None
    with Worker() as worker:
        assert worker.run(add, 1, 1) == 2


def test_a_file_is_to_blame_until_it_has_run(stories: Path, tmp_path: Path) -> None:
    with Worker() as worker, pytest.raises(MalformedFileError, match="crashed on it") as caught:
        worker.run(die_before_a_run, stories)
    assert caught.value.path == str(stories)
    other = tmp_path / "other.gguf"
    other.write_bytes(stories.read_bytes())
    with Worker() as worker, pytest.raises(MalformedFileError, match="crashed on it") as caught:
        worker.run(die_of_another, stories, other)
    assert caught.value.path == str(other)


def test_a_file_that_was_refused_is_not_to_blame_for_what_comes_next(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"no model")
    told = "die_after_a_failed_load.*failed to load model"  # as llama.cpp's log, which is its alone
    with Worker() as worker, pytest.raises(EngineError, match=told):
        worker.run(die_after_a_failed_load, bad)


def test_an_abort_of_llama_cpp_blames_the_file_in_its_first_decode_alone(tmp_path: Path) -> None:
    """gpt2 reads a table of positions, which ends: llama.cpp aborts beyond it (ggml_get_rows)."""
    model = expand_named("gpt2-dense", tmp_path / "gpt2.gguf")
    n_positions = open_gguf(model).header.get("gpt2.context_length")
    assert isinstance(n_positions, int)
    with Worker() as worker, pytest.raises(MalformedFileError, match=r"SIGABRT.*GGML_ASSERT"):
        worker.run(decode_lengths, model, [n_positions + 1])
    with Worker() as worker, pytest.raises(EngineError, match=r"decode_lengths.*GGML_ASSERT"):
        worker.run(decode_lengths, model, [8, n_positions + 1])


@pytest.mark.parametrize(
    ("job", "told"),
    [(stumble, "ZeroDivisionError: a bug"), (give_what_no_pickle_holds, "pickle")],
)
def test_a_bug_in_a_job_stays_a_bug(job: object, told: str) -> None:
    with Worker() as worker, pytest.raises(RuntimeError, match=told):
        worker.run(job)  # type: ignore[arg-type]


def test_of_what_is_printed_the_end_is_kept_and_told(stories: Path) -> None:
    """A job's output fills no memory of the parent, and is not told of the next job's death."""
    with Worker() as worker:
        before = n_bytes_resident()
        worker.run(babble, 300_000_000)
        assert n_bytes_resident() - before < 50_000_000
        with pytest.raises(EngineError) as caught:
            worker.run(die, signal.SIGABRT)
    assert str(caught.value).endswith("(SIGABRT): GGML_ASSERT(x) failed")
    with Worker() as worker:
        worker.run(babble, 1000)
        with pytest.raises(RuntimeError) as bug:
            worker.run(stumble)
    assert "xxx" not in str(bug.value)


def n_bytes_resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_leaving_the_block_ends_the_process_whatever_it_does() -> None:
    with Worker() as worker:
        thread = threading.Thread(target=_run_quietly, args=(worker,), daemon=True)
        thread.start()
        assert comes_true(lambda: worker.pid is not None, 30)
        pid = worker.pid or 0
    assert not is_alive(pid)


def _run_quietly(worker: Worker) -> None:
    with suppress(EngineError):
        worker.run(sleep)


def test_a_closed_worker_starts_no_process() -> None:
    with Worker() as worker:
        worker.run(add, 1, 1)
    with pytest.raises(UsageError, match="the worker is closed"):
        worker.run(add, 1, 1)
    assert worker.pid is None


PARENT = """
import sys
from pathlib import Path
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.workers.worker import Worker
from tests.workers import jobs
arguments = [Path(sys.argv[2]), Devices(n_threads=1), *map(float, sys.argv[3:])]
with Worker() as worker:
    tell = lambda _: print(worker.pid, flush=True)
    worker.run(getattr(jobs, sys.argv[1]), *arguments, on_result=tell)
"""


@pytest.mark.parametrize("job", [("decode_for_ever",), ("wait_in_native_code", "60")])
def test_the_process_is_gone_when_its_parent_is_killed(job: tuple[str, ...], stories: Path) -> None:
    """Also while native code runs, and while native code waits without ever coming back."""
    name, *options = job
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, name, str(stories), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    assert comes_true(lambda: not is_alive(pid), 10)
