"""The flag that stops the job of this process, also within a decode.

llama.cpp asks a callback whether to abort before it computes a node (`abort_callback`,
include/llama.h; the CPU backend asks, ggml/src/ggml-cpu/ggml-cpu.c). A callback in Python would
cost more than small nodes do, so C's `atoi` is the callback, and the flag is the text it reads.
"""

from __future__ import annotations

import ctypes
from typing import Any

ABORTED = 2
"""The status of `llama_decode` that was aborted by the callback (include/llama.h)."""

_flag = ctypes.create_string_buffer(b"0")


class JobStoppedError(Exception):
    """The caller asked for the job to stop. It never leaves the process of the job."""


def request_stop() -> None:
    """Stop the running job at its next decode, node or report. May be called by any thread."""
    _flag[0] = b"1"


def clear_stop() -> None:
    """Forget an earlier request, before the next job begins."""
    _flag[0] = b"0"


def check_stop() -> None:
    """Raise JobStoppedError when the job was asked to stop."""
    if _flag[0] == b"1":
        raise JobStoppedError


def set_abort_callback(params: Any, callback_type: Any) -> None:
    """Make the contexts of these `llama_context_params` abort when a stop is requested."""
    params.abort_callback = ctypes.cast(ctypes.CDLL(None).atoi, callback_type)
    params.abort_callback_data = ctypes.addressof(_flag)
