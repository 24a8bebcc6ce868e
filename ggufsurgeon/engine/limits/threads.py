"""The number of threads that llama.cpp computes with by default."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.engine.limits.control_groups import PROC, control_groups

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices


def n_threads_of(options: Devices) -> int:
    """The number of CPU threads that a model with these options is run with."""
    return options.n_threads or default_threads()


@cache
def default_threads() -> int:
    """The number of physical cores that this process may use, at most its quota of CPU time.

    llama.cpp's programs take one thread for each core too (common/common.cpp:77-93); the library
    itself takes 4 (ggml/include/ggml.h). They do not ask for a quota. Threads above it stop all
    at once when the quota of a period is used up, and those that wait for them spin.
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = {_siblings(cpu) for cpu in cpus}
    n_cores = len(cores) or os.cpu_count() or 1
    return max(1, int(min(n_cores, cpu_quota())))


def cpu_quota(proc: Path = PROC) -> float:
    """CPUs' worth of time that the control groups of this process allow it; infinite for no quota.

    `proc` is where the kernel shows processes.
    """
    return min(_quotas(proc), default=float("inf"))


def _quotas(proc: Path) -> Iterator[float]:
    for group in control_groups("cpu", proc):
        if group.version == 2:
            quota, period = (*group.numbers("cpu.max"), None, None)[:2]
        else:
            quota, period = map(group.number, ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        if quota is not None and quota > 0 and period:
            yield quota / period


def _siblings(cpu: int) -> str:
    """The list of hardware threads of the core of `cpu`; without Linux's /sys, `cpu` itself."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text()
    except OSError:
        return str(cpu)
