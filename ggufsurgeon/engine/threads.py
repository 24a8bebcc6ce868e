"""The number of threads that llama.cpp computes with by default."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def default_threads() -> int:
    """The number of physical cores that this process may use.

    llama.cpp's programs take one thread for each core too (common/common.cpp:77-93); the library
    itself takes 4 (ggml/include/ggml.h).
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = {_siblings(cpu) for cpu in cpus}
    return len(cores) or os.cpu_count() or 1


def _siblings(cpu: int) -> str:
    """The list of hardware threads of the core of `cpu`; without Linux's /sys, `cpu` itself."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text()
    except OSError:
        return str(cpu)
