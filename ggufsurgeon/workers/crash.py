"""The cause of the death of a worker process: a file, an RPC server, or the machine."""

from __future__ import annotations

import signal
from pathlib import Path

from ggufsurgeon.errors import EngineError, MalformedFileError, UsageError

CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""Signals by which llama.cpp ends its process on a file that it cannot run."""
BUG_STATUS = 70
"""Exit status of a worker process that an exception has ended: EX_SOFTWARE of sysexits.h."""
CAUSES = {
    signal.SIGKILL: "The system kills processes when memory runs out: use a smaller context or "
    "batch, fewer layers on this device, or a smaller model.",
    signal.SIGILL: "This llama-cpp-python was built for another CPU: build it on this machine "
    "(pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python).",
}


def crash_error(status: int, printed: str, job: str, suspect: Path | None) -> Exception:
    """The error for a process that ended with `status` in `job`.

    `printed` is what it printed last. `suspect` is the file that llama.cpp was loading or running
    for the first time, if any. RuntimeError stands for a bug of this program, an exception that is
    not meant for users.
    """
    last = printed.splitlines()[-1:]
    if status == BUG_STATUS:
        return RuntimeError(f"the worker process exited with status {status}:\n{printed}")
    if status >= 0:
        problem = f"the worker's process ended itself in the job {job}, with status {status}"
        return EngineError(": ".join([problem, *last]))
    number = signal.Signals(-status)
    if "RPC server" in printed or "ggml-rpc.cpp" in printed:
        return UsageError(
            f"an RPC server was lost or does not speak this llama.cpp's protocol "
            f"({': '.join([number.name, *last])})",
            hint="Check that each RPC server still runs, with the same version of llama.cpp.",
        )
    if suspect is not None and number in CRASHES:
        problem = f"llama.cpp crashed on it ({number.name})"
        return MalformedFileError(str(suspect), ": ".join([problem, *last]))
    problem = f"llama.cpp's process died in the job {job} ({number.name})"
    return EngineError(": ".join([problem, *last]), hint=CAUSES.get(number, ""))
