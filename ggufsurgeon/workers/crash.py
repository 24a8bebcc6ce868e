"""The cause of the death of a worker process: a file, a text, an RPC server, or the machine."""

from __future__ import annotations

import signal
from pathlib import Path

from ggufsurgeon.errors import EngineError, MalformedFileError, UsageError

CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""Signals by which llama.cpp ends its process on a file that it cannot run."""
CAUSES = {
    signal.SIGKILL: "The system kills processes when memory runs out: use a smaller context or "
    "batch, fewer layers on this device, or a smaller model.",
    signal.SIGILL: "This llama-cpp-python was built for another CPU: build it on this machine "
    "(pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python).",
}


def crash_error(status: int, printed: str, job: str, suspect: Path | None) -> Exception:
    """The error for a process that ended with `status` in `job`.

    `printed` is what it printed last. `suspect` is the file that llama.cpp was loading or running
    for the first time, if any. RuntimeError stands for a bug of this program: Python ended the
    process, not a signal.
    """
    if status >= 0:
        return RuntimeError(f"the worker process exited with status {status}:\n{printed}")
    number = signal.Signals(-status)
    last = printed.splitlines()[-1:]
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
