"""Jobs for tests of runners, and what tests ask of their processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.installation.library import llama_cpp, log_read_by
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError
from ggufsurgeon.workers.session import Reporter, Session

TOKENS = np.arange(1, 200, dtype=np.int32)


def add(_session: Session, first: int, second: int, reporter: Reporter) -> int:
    print("noise on standard output")
    reporter.begin("adding", 2, "terms")
    reporter.advance(1, "one")
    reporter.emit("half")
    reporter.advance(1, "two")
    return first + second


def refuse(_session: Session, _reporter: Reporter) -> None:
    raise MalformedFileError("m.gguf", "is bad", offset=7, hint="mend it")


def fail(_session: Session, error: GgufSurgeonError, _reporter: Reporter) -> None:
    raise error


def stumble(_session: Session, _reporter: Reporter) -> None:
    raise ZeroDivisionError("a bug")


def give_what_no_pickle_holds(_session: Session, _reporter: Reporter) -> object:
    return lambda: None


def read_standard_input(_session: Session, _reporter: Reporter) -> bytes:
    return os.read(0, 10)


def count(_session: Session, n: int, reporter: Reporter) -> int:
    for number in range(n):
        reporter.emit(number)
    return n


def import_high_level(
    _session: Session, path: Path, _reporter: Reporter
) -> tuple[bool, bool, bool]:
    """Whether the bindings came with the classes beside them, are theirs, and keep their log."""
    bindings = llama_cpp()
    came_along = "llama_cpp" in sys.modules or "llama_cpp.llama" in sys.modules
    from llama_cpp import _internals

    lines: list[str] = []
    with log_read_by(lines.append), loaded_model(path, Devices()):
        pass
    return came_along, _internals.llama_cpp is bindings, len(lines) > 10


def sleep(_session: Session, _reporter: Reporter) -> None:
    time.sleep(60)


def babble(_session: Session, n_bytes: int, _reporter: Reporter) -> None:
    """Print very much on standard error, as native code does."""
    line = b"x" * 999 + b"\n"
    for _ in range(n_bytes // 1000):
        os.write(2, line)


def die(_session: Session, number: int, _reporter: Reporter) -> None:
    os.write(2, b"GGML_ASSERT(x) failed\n")
    os.kill(os.getpid(), number)


def die_saying(_session: Session, text: str, number: int, _reporter: Reporter) -> None:
    """Die behind lines that native code prints."""
    os.write(2, text.encode())
    os.kill(os.getpid(), number)


def fill_memory(_session: Session, _reporter: Reporter) -> None:
    pages = [bytearray(os.urandom(1 << 20)) for _ in range(1 << 20)]
    assert not pages


def ask_for_too_much(_session: Session, _reporter: Reporter) -> None:
    np.zeros(1 << 60, np.uint8)


def die_before_a_run(session: Session, path: Path, _reporter: Reporter) -> None:
    with opened_context(session.model(path, Devices()), 8, 8):
        os.abort()


def die_of_another(session: Session, path: Path, other: Path, reporter: Reporter) -> None:
    """Two models are loaded, and the second one runs first."""
    session.model(path, Devices())
    die_before_a_run(session, other, reporter)


def die_after_a_failed_load(session: Session, path: Path, _reporter: Reporter) -> None:
    try:
        session.model(path, Devices())
    except MalformedFileError:
        os.abort()


def decode_lengths(session: Session, path: Path, lengths: list[int], _reporter: Reporter) -> None:
    """Decode texts of these lengths, each in a context of its own."""
    model = session.model(path, Devices(n_threads=1))
    for n_tokens in lengths:
        with opened_context(model, n_tokens, n_tokens) as context:
            context.decode(Batch.of(np.ones(n_tokens, dtype=np.int32)))


def model_id(session: Session, path: Path, _reporter: Reporter) -> tuple[int, int]:
    """The process, and the address of the loaded model."""
    return os.getpid(), int(session.model(path, Devices()).handle or 0)


def decode(session: Session, path: Path, _reporter: Reporter) -> float:
    model = session.model(path, Devices(n_threads=1))
    with opened_context(model, 256, 256) as context:
        return float(context.decode(Batch.of(TOKENS)).sum())


def decode_for_ever(session: Session, path: Path, devices: Devices, reporter: Reporter) -> None:
    """Decode without a report, after the first."""
    model = session.model(path, devices)
    with opened_context(model, 256, 256) as context:
        reporter.emit("begun")
        while True:
            context.clear()
            context.decode(Batch.of(TOKENS))


def decode_for(
    session: Session, path: Path, devices: Devices, seconds: float, _reporter: Reporter
) -> int:
    """Decode without a report; how often."""
    model = session.model(path, devices)
    end, n = time.monotonic() + seconds, 0
    with opened_context(model, 256, 256) as context:
        while time.monotonic() < end:
            context.clear()
            context.decode(Batch.of(TOKENS))
            n += 1
    return n


def wait_in_native_code(
    session: Session, path: Path, devices: Devices, seconds: float, reporter: Reporter
) -> None:
    """Load a model, then wait as a call that waits for a server does."""
    session.model(path, devices)
    reporter.emit("begun")
    ctypes.CDLL(None).usleep(ctypes.c_uint(int(seconds * 1e6)))


def use_of(session: Session, path: Path, devices: Devices, _reporter: Reporter) -> list[DeviceUse]:
    """What each device holds, with a context."""
    model = session.model(path, devices)
    with opened_context(model, 64, 64):
        return list(model.devices())


def release_in_use(session: Session, path: Path, _reporter: Reporter) -> None:
    """Use a context whose model was released."""
    with opened_context(session.model(path, Devices()), 64, 64) as context:
        session.release(path)
        context.clear()


def is_alive(pid: int) -> bool:
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not states.stdout.strip().startswith("Z") and bool(states.stdout.strip())


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
