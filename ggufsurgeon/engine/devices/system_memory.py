"""The memory of this machine that this process may still use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ggufsurgeon.engine.limits.control_groups import PROC, control_groups, memory_limit


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
