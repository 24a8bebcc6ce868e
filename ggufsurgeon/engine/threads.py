"""How many threads llama.cpp shall compute with where nobody says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def default_threads() -> int:
    """The physical cores that this process may use, as llama.cpp's tools count them.

    llama.cpp itself would take 4 (ggml/include/ggml.h), its tools one a core
    (common/common.cpp:77-93).
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = {_siblings(cpu) for cpu in cpus}
    return len(cores) or os.cpu_count() or 1


def _siblings(cpu: int) -> str:
    """The hardware threads of the core of `cpu`; the number of `cpu` where Linux does not tell."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text()
    except OSError:
        return str(cpu)
