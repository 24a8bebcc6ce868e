"""The cause of the death of a worker process: memory, a device, the CPU, a text, or a file.

What the process printed decides first, since it says most; then the signal, and what the process
was doing.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.engine.installation.build import cpu_name
from ggufsurgeon.engine.installation.library_errors import REBUILD
from ggufsurgeon.errors import EngineError, MalformedFileError, OutOfMemoryError, UsageError
from ggufsurgeon.workers.memory_kills import MemoryKills, cause_of_kill

CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""Signals by which llama.cpp ends its process on a file that it cannot run."""
BUG_STATUS = 70
"""Exit status of a worker process that an exception has ended: EX_SOFTWARE of sysexits.h."""
NO_MEMORY = re.compile(
    r"out ?of ?(device|host)? ?memory|bad_alloc|insufficient ?memory|(failed|unable) to allocate"
    r"|cannot allocate memory",
    re.IGNORECASE,
)
"""As CUDA, ROCm, Vulkan, Metal, C++ and ggml put it (ggml/src/ggml.c, ggml-cuda/ggml-cuda.cu)."""
DEVICE = re.compile(
    r"cuda|hip|rocm|musa|sycl|vulkan|vk::|metal|device|insufficient ?memory", re.IGNORECASE
)
DEVICE_ERROR = re.compile(
    r"(CUDA|ROCm|HIP|MUSA|SYCL|Vulkan|Metal) error|rocBLAS error|cuBLAS|vk::\w*Error"
)
"""As the backends print before they abort (`ggml_cuda_error`, ggml-cuda/ggml-cuda.cu)."""
NO_CODE = re.compile(r"no kernel image|invalid device function|TensileLibrary")
"""The build has no code for this GPU."""
N_LAST_LINES = 6
"""Printed lines that tell of the end: an error of CUDA takes five."""
USE_LESS = (
    "Use less memory: a smaller context or batch, fewer layers on this device, or a smaller model."
)
PUT_LESS = (
    "Put less on the device: fewer GPU layers, another split, a smaller context or batch, or a "
    "smaller model."
)
OTHER_BUILD = "Build llama-cpp-python on this machine, for this GPU (the FAQ says how)."
OTHER_PLACE = (
    "Try fewer GPU layers or none, another driver, or another version of llama-cpp-python: no file "
    "of yours is to blame."
)
OTHER_VERSION = (
    "Try another version of llama-cpp-python; if it still crashes, report it to llama.cpp with "
    "what it printed."
)
BROKEN_FILE = (
    "The file is broken, or this llama.cpp cannot run it: compare its SHA-256 with that of its "
    "publisher, and try another version of llama-cpp-python."
)
CUT_FILE = (
    "A file was truncated or could not be read while it was in use: compare the SHA-256 of the "
    "model, and check the disk for errors. If both are sound, reinstall llama-cpp-python, whose "
    "library may be damaged."
)
BREAK_RUNS = (
    "Break such runs up or leave them out: many of llama.cpp's tokenizers need stack for each "
    "character of a run. No model file is to blame."
)


class Death(NamedTuple):
    """What is known of a process that has ended."""

    status: int
    """Its exit status, or minus the number of a signal."""
    printed: str
    """What it printed last."""
    job: str
    suspect: Path | None = None
    """The file that llama.cpp was loading or running for the first time."""
    reading: str = ""
    """The longest run of a text that it was splitting into tokens, if that is long."""
    kills_before: MemoryKills = MemoryKills(None, ())
    """The kernel's count of kills when the process started."""

    @property
    def lines(self) -> list[str]:
        """The last lines that it printed."""
        return [line.strip() for line in self.printed.splitlines()[-N_LAST_LINES:]]

    def told(self, words: re.Pattern[str]) -> str:
        """The first of these lines that has some words, or nothing."""
        return next((line for line in self.lines if words.search(line)), "")

    def with_last_line(self, problem: str) -> str:
        """A problem, and the last line that was printed."""
        return ": ".join([problem, *self.lines[-1:]])


def crash_error(death: Death) -> Exception:
    """The error for a process that has died.

    RuntimeError stands for a bug of this program, an exception that is not meant for users.
    """
    if death.status == BUG_STATUS:
        return RuntimeError(
            f"the worker process exited with status {death.status}:\n{death.printed}"
        )
    if death.status >= 0:
        problem = f"the worker's process ended itself in the job {death.job}"
        return EngineError(death.with_last_line(f"{problem}, with status {death.status}"))
    number = signal.Signals(-death.status)
    if "RPC server" in death.printed or "ggml-rpc.cpp" in death.printed:
        return _lost_server(death, number)
    if number == signal.SIGKILL:
        return _killed(death)
    if number in CRASHES and (line := death.told(NO_MEMORY)):
        return _aborted_for_memory(death, number, line)
    if number in CRASHES and (line := death.told(DEVICE_ERROR)):
        return _failed_device(death, number, line)
    if number in CRASHES and death.reading:
        return _crashed_on_text(death, number)
    if number in CRASHES and death.suspect is not None:
        problem = death.with_last_line(f"llama.cpp crashed on it ({number.name})")
        hint = CUT_FILE if number == signal.SIGBUS else BROKEN_FILE
        return MalformedFileError(str(death.suspect), problem, hint=hint)
    return _crashed(death, number)


def _lost_server(death: Death, number: signal.Signals) -> UsageError:
    return UsageError(
        "an RPC server was lost or does not speak this llama.cpp's protocol "
        f"({death.with_last_line(number.name)})",
        hint="Check that each RPC server still runs, with the same version of llama.cpp.",
    )


def _killed(death: Death) -> OutOfMemoryError:
    cause, first = cause_of_kill(death.kills_before)
    return OutOfMemoryError(
        f"llama.cpp's process was killed (SIGKILL) in the job {death.job}: {cause}",
        hint=first + (USE_LESS[0].lower() + USE_LESS[1:] if first else USE_LESS),
    )


def _aborted_for_memory(death: Death, number: signal.Signals, line: str) -> OutOfMemoryError:
    is_device = DEVICE.search(line)
    whose = "a device" if is_device else "the system"
    return OutOfMemoryError(
        f"llama.cpp's process ended in the job {death.job} ({number.name}): {whose} has no memory "
        f"left: {line}",
        hint=PUT_LESS if is_device else USE_LESS,
    )


def _failed_device(death: Death, number: signal.Signals, line: str) -> EngineError:
    has_no_code = bool(death.told(NO_CODE))
    problem = "this build has no code for the GPU" if has_no_code else "a GPU failed"
    return EngineError(
        f"llama.cpp's process ended in the job {death.job} ({number.name}): {problem}: {line}",
        hint=OTHER_BUILD if has_no_code else OTHER_PLACE,
    )


def _crashed_on_text(death: Death, number: signal.Signals) -> UsageError:
    return UsageError(
        f"llama.cpp's tokenizer crashed on the text ({number.name}); its longest run has "
        f"{death.reading}",
        hint=BREAK_RUNS,
    )


def _crashed(death: Death, number: signal.Signals) -> EngineError:
    problem = f"llama.cpp's process died in the job {death.job} ({number.name})"
    if number == signal.SIGILL:
        return EngineError(
            f"{problem}: an illegal instruction. This llama-cpp-python was built for another CPU "
            f"than this one ({cpu_name()})",
            hint=f"Build it on this machine: {REBUILD}",
        )
    hint = CUT_FILE if number == signal.SIGBUS else OTHER_VERSION
    return EngineError(death.with_last_line(problem), hint=hint)
