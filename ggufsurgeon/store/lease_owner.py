"""Processes that work on a part of a store, told apart from those that have died.

No clock is asked: a process is known by its number and the time of its start as the system counts
it, on Linux in ticks since boot (proc(5), /proc/PID/stat, field 22), so a jump of the clock ends no
lease.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ENDED = "ZX"
"""States of processes that have ended, and that their parents have not asked about yet."""


def this_owner() -> str:
    """This process, as JSON."""
    return json.dumps([_host(), os.getpid(), _started(os.getpid())])


def is_alive(owner: str) -> bool:
    """Whether a process may still work: one of another host is taken to."""
    try:
        host, pid, started = json.loads(owner)
    except ValueError:
        return False
    return host != _host() or (started is not None and _started(pid) == started)


def describe(owner: str) -> str:
    """A process as people know it, such as `process 4242`."""
    try:
        host, pid, _ = json.loads(owner)
    except ValueError:
        return "another process"
    return f"process {pid}" if host == _host() else f"process {pid} of another host"


def _host() -> str:
    """This host since its last start."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """When a process was started; None when there is none, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None if not _exists(pid) else "unknown"
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in ENDED else fields[18]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
