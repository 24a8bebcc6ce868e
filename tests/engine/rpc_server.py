"""An RPC server of llama.cpp on loopback, with this machine's CPU as its device.

    python -m tests.engine.rpc_server PORT [SPARE]

It serves one client at a time, until it is killed or its standard input ends. With SPARE
it may take so many bytes more than it has when it starts.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from pathlib import Path

from ggufsurgeon.engine.installation.library import ggml

CPU = 0
"""`GGML_BACKEND_DEVICE_TYPE_CPU`."""


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def n_bytes_taken() -> int:
    """What RLIMIT_DATA limits."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    library = ggml()
    library.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    devices = (ctypes.c_void_p * 1)(library.ggml_backend_dev_by_type(CPU))
    if len(sys.argv) > 2:
        limit = n_bytes_taken() + int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    endpoint = f"127.0.0.1:{sys.argv[1]}".encode()
    n_threads, n_devices = ctypes.c_size_t(1), ctypes.c_size_t(1)
    library.ggml_backend_rpc_start_server(endpoint, None, n_threads, n_devices, devices)


if __name__ == "__main__":
    main()
