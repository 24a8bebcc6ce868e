"""The flag that stops the job of this process, also within a decode or while a model loads.

llama.cpp asks a callback whether to abort before it computes a node (`abort_callback`,
include/llama.h). The CPU and Metal backends ask (ggml/src/ggml-cpu/ggml-cpu.c,
ggml/src/ggml-metal/ggml-metal-context.m:586); CUDA and RPC do not, and stop after the decode. A
callback in Python would cost more than small nodes do, so C's `atoi` is the callback, and the
flag is the text it reads.
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
    """Forget the request, once the job that it was for has ended."""
    _flag[0] = b"0"


def is_stop_requested() -> bool:
    """Whether the job was asked to stop."""
    return _flag[0] == b"1"


def check_stop() -> None:
    """Raise JobStoppedError when the job was asked to stop."""
    if is_stop_requested():
        raise JobStoppedError


def set_abort_callback(params: Any, callback_type: Any) -> None:
    """Make the contexts of these `llama_context_params` abort when a stop is requested."""
    params.abort_callback = ctypes.cast(ctypes.CDLL(None).atoi, callback_type)
    params.abort_callback_data = ctypes.addressof(_flag)
