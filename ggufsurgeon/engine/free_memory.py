"""How much memory is free for weights."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ggufsurgeon.engine.devices import GPU_KINDS, add_rpc_servers, list_devices
from ggufsurgeon.engine.model import Devices


def free_memory(options: Devices) -> int:
    """Bytes that are free where weights go: on the GPUs, or else in the system's memory."""
    add_rpc_servers(options.rpc)
    gpus = [device for device in list_devices() if device.kind in GPU_KINDS]
    if gpus and options.n_gpu_layers != 0:
        return sum(gpu.n_bytes_free for gpu in gpus)
    return _free_in_system()


def _free_in_system() -> int:
    """What Linux calls available, which counts its file cache; elsewhere half of all there is."""
    try:
        found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
