"""The memory that is free for weights."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ggufsurgeon.engine.devices.heartbeat import awaiting
from ggufsurgeon.engine.devices.registry import add_rpc_servers, offload_devices
from ggufsurgeon.engine.model import Devices


def free_memory(options: Devices) -> int:
    """Bytes that are free where weights go: on the GPUs, or else in the system's memory."""
    add_rpc_servers(options.rpc)
    with awaiting(options.rpc, options.rpc_timeout_s):
        gpus = offload_devices(options.rpc, options.names)
    if gpus and options.n_gpu_layers != 0:
        return sum(gpu.n_bytes_free for gpu in gpus)
    return _free_in_system()


def _free_in_system() -> int:
    """Bytes that Linux calls available, its file cache included; elsewhere half of all memory."""
    try:
        found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
