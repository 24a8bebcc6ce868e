"""Processes that Linux has killed for lack of memory: how many, and whose memory ran out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.engine.limits.control_groups import (
    PROC,
    ControlGroup,
    control_groups,
    memory_limit,
    read_fields,
)


class MemoryKills(NamedTuple):
    """Counts of the kernel at one moment."""

    n_killed: int | None
    """Processes of this process's control group, or of the machine; None where none are counted."""
    n_times_full: tuple[int, ...]
    """How often each control group, the innermost first, had no memory left below its limit."""


def count_memory_kills(proc: Path = PROC) -> MemoryKills:
    """The counts now. `proc` is where the kernel shows processes.

    Version 2 of control groups counts `oom` in the group whose limit was reached, and `oom_kill` in
    the group of the victim (Documentation/admin-guide/cgroup-v2.rst). Version 1 has no `oom`: there
    `memory.failcnt` counts every time that a limit was reached.
    """
    groups = control_groups("memory", proc)
    counts = [*map(_n_killed, groups), read_fields(proc / "vmstat").get("oom_kill")]
    n_killed = next((count for count in counts if count is not None), None)
    return MemoryKills(n_killed, tuple(map(_n_times_full, groups)))


def cause_of_kill(before: MemoryKills, proc: Path = PROC) -> tuple[str, str]:
    """Why a process of this one's control group was killed since `before`, and what may help.

    The second is the beginning of a sentence that ends with `use less memory`.
    """
    after = count_memory_kills(proc)
    if before.n_killed is None or after.n_killed is None:
        return "systems do so when memory runs out", ""
    if after.n_killed == before.n_killed:
        cause = "not by the kernel, which counts no process killed for lack of memory"
        return cause, "Out-of-memory daemons (systemd-oomd, earlyoom) and batch systems do so: "
    groups = control_groups("memory", proc)
    for group, was, now in zip(groups, before.n_times_full, after.n_times_full, strict=False):
        limit = memory_limit(group)
        if now > was and limit is not None:
            told = f"{limit / 2**20:,.0f} MiB, {group.folder}"
            return f"the memory limit of its container was reached ({told})", "Raise it, or "
    return "the memory of this machine ran out", "End other programs, or "


def _n_killed(group: ControlGroup) -> int | None:
    name = "memory.events" if group.version == 2 else "memory.oom_control"
    return group.fields(name).get("oom_kill")


def _n_times_full(group: ControlGroup) -> int:
    if group.version == 2:
        return group.fields("memory.events").get("oom", 0)
    return group.number("memory.failcnt") or 0
