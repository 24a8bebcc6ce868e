"""The memory that is free for weights."""

from __future__ import annotations

from ggufsurgeon.engine.devices.heartbeat import awaiting
from ggufsurgeon.engine.devices.registry import add_rpc_servers, offload_devices
from ggufsurgeon.engine.devices.system_memory import free_in_system
from ggufsurgeon.engine.model import Devices


def free_memory(options: Devices) -> int:
    """Bytes that are free where weights go: on the GPUs, or else in the system's memory."""
    add_rpc_servers(options.rpc)
    with awaiting(options.rpc, options.rpc_timeout_s):
        gpus = offload_devices(options.rpc, options.names)
    if gpus and options.n_gpu_layers != 0:
        return sum(gpu.n_bytes_free for gpu in gpus)
    return free_in_system()
