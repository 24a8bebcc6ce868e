"""The memory that is free for weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ggufsurgeon.engine.control_groups import PROC, control_groups, memory_limit
from ggufsurgeon.engine.devices.heartbeat import awaiting
from ggufsurgeon.engine.devices.registry import add_rpc_servers, offload_devices
from ggufsurgeon.engine.model import Devices


def free_memory(options: Devices) -> int:
    """Bytes that are free where weights go: on the GPUs, or else in the system's memory."""
    add_rpc_servers(options.rpc)
    with awaiting(options.rpc, options.rpc_timeout_s):
        gpus = offload_devices(options.rpc)
    if gpus and options.n_gpu_layers != 0:
        return sum(gpu.n_bytes_free for gpu in gpus)
    return free_in_system()


def free_in_system(proc: Path = PROC) -> int:
    """Bytes that are free in this machine and in every control group that this process is in.

    File cache counts as free, since the kernel can drop it. `proc` is where the kernel shows
    processes.
    """
    return min([_free_in_machine(proc), *_free_in_groups(proc)])


def _free_in_machine(proc: Path) -> int:
    """Bytes that Linux calls available, its file cache included; elsewhere half of all memory."""
    try:
        found = re.search(r"MemAvailable: +(\d+) kB", (proc / "meminfo").read_text())
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_groups(proc: Path) -> Iterator[int]:
    for group in control_groups("memory", proc):
        is_v2 = group.version == 2
        used = group.number("memory.current" if is_v2 else "memory.usage_in_bytes")
        limit = memory_limit(group)
        if limit is None or used is None:
            continue
        counts, prefix = group.fields("memory.stat"), "" if is_v2 else "total_"
        cache = sum(counts.get(f"{prefix}{name}_file", 0) for name in ("active", "inactive"))
        yield max(limit - max(used - cache, 0), 0)
