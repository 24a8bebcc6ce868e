"""The cause of the death of a worker process: a file, a text, memory, the CPU, or an RPC server."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from ggufsurgeon.engine.build import cpu_name
from ggufsurgeon.engine.library_errors import REBUILD
from ggufsurgeon.errors import EngineError, MalformedFileError, OutOfMemoryError, UsageError
from ggufsurgeon.workers.memory_kills import MemoryKills, cause_of_kill

CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""Signals by which llama.cpp ends its process on a file that it cannot run."""
BUG_STATUS = 70
"""Exit status of a worker process that an exception has ended: EX_SOFTWARE of sysexits.h."""
NO_MEMORY = re.compile(
    r"out ?of ?(device|host)? ?memory|bad_alloc|insufficient memory|(failed|unable) to allocate"
    r"|cannot allocate memory",
    re.IGNORECASE,
)
"""As CUDA, ROCm, Vulkan, Metal, C++ and ggml put it (ggml/src/ggml.c, ggml-cuda/ggml-cuda.cu)."""
DEVICE = re.compile(r"cuda|hip|rocm|musa|sycl|vulkan|vk::|metal|device", re.IGNORECASE)
N_LAST_LINES = 6
"""Printed lines that tell of the end: an error of CUDA takes four."""
USE_LESS = (
    "Use less memory: a smaller context or batch, fewer layers on this device, or a smaller model."
)
PUT_LESS = (
    "Put less on the device: fewer GPU layers, another split, a smaller context or batch, or a "
    "smaller model."
)
ABORTED = (
    "llama.cpp aborts where a GPU has no memory left, and on its own faults: try a smaller context "
    "or batch, or fewer GPU layers."
)


def crash_error(
    status: int, printed: str, job: str, suspect: Path | None, before: MemoryKills
) -> Exception:
    """The error for a process that ended with `status` in `job`.

    `printed` is what it printed last. `suspect` is the file that llama.cpp was loading or running
    for the first time, if any. `before` is the count of kills when the process started.
    RuntimeError stands for a bug of this program, an exception that is not meant for users.
    """
    lines = printed.splitlines()[-N_LAST_LINES:]
    if status == BUG_STATUS:
        return RuntimeError(f"the worker process exited with status {status}:\n{printed}")
    if status >= 0:
        problem = f"the worker's process ended itself in the job {job}, with status {status}"
        return EngineError(": ".join([problem, *lines[-1:]]))
    number = signal.Signals(-status)
    if "RPC server" in printed or "ggml-rpc.cpp" in printed:
        return UsageError(
            f"an RPC server was lost or does not speak this llama.cpp's protocol "
            f"({': '.join([number.name, *lines[-1:]])})",
            hint="Check that each RPC server still runs, with the same version of llama.cpp.",
        )
    if number == signal.SIGKILL:
        return _killed(job, before)
    told = [line.strip() for line in lines if NO_MEMORY.search(line)]
    if number in CRASHES and told:
        return _aborted_for_memory(number, job, told[-1])
    if suspect is not None and number in CRASHES:
        problem = f"llama.cpp crashed on it ({number.name})"
        return MalformedFileError(str(suspect), ": ".join([problem, *lines[-1:]]))
    return _crashed(number, job, lines[-1:])


def _killed(job: str, before: MemoryKills) -> OutOfMemoryError:
    cause, first = cause_of_kill(before)
    return OutOfMemoryError(
        f"llama.cpp's process was killed (SIGKILL) in the job {job}: {cause}",
        hint=first + (USE_LESS[0].lower() + USE_LESS[1:] if first else USE_LESS),
    )


def _aborted_for_memory(number: signal.Signals, job: str, line: str) -> OutOfMemoryError:
    is_device = DEVICE.search(line)
    whose = "a device" if is_device else "the system"
    return OutOfMemoryError(
        f"llama.cpp's process ended in the job {job} ({number.name}): {whose} has no memory left: "
        f"{line}",
        hint=PUT_LESS if is_device else USE_LESS,
    )


def _crashed(number: signal.Signals, job: str, last: list[str]) -> EngineError:
    problem = f"llama.cpp's process died in the job {job} ({number.name})"
    if number == signal.SIGILL:
        return EngineError(
            f"{problem}: an illegal instruction. This llama-cpp-python was built for another CPU "
            f"than this one ({cpu_name()})",
            hint=f"Build it on this machine: {REBUILD}",
        )
    hint = ABORTED if number == signal.SIGABRT else ""
    return EngineError(": ".join([problem, *last]), hint=hint)


def text_crash_error(status: int, reading: str) -> UsageError | None:
    """The error for a process that crashed while it read a text; None where it did not.

    `reading` is what is known of the text, empty for none.
    """
    if not reading or -status not in CRASHES:
        return None
    return UsageError(
        f"llama.cpp's tokenizer crashed on the text ({signal.Signals(-status).name}); "
        f"its longest run has {reading}",
        hint="Break such runs up or leave them out: many of llama.cpp's tokenizers need stack for "
        "each character of a run. No model file is to blame.",
    )
