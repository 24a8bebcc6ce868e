"""llama.cpp's parameters of a load, by the devices that a model is to run on."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from ggufsurgeon.engine.devices.heartbeat import beat
from ggufsurgeon.engine.devices.offload import Offload
from ggufsurgeon.engine.devices.options import Devices
from ggufsurgeon.engine.devices.registry import Device, cpu_device, has_other_servers
from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.engine.native_objects.native_overrides import override_list
from ggufsurgeon.engine.stopping import is_stop_requested


class LayerSplit(NamedTuple):
    """The last layers of a model on GPUs, in runs; the output counts as one. Others: on the CPU."""

    gpus: tuple[Device, ...]
    """The device of each run. One may be there several times."""
    n_layers: tuple[int, ...]
    """The length of each run."""


def split_params(split: LayerSplit) -> tuple[Any, tuple[Any, ...]]:
    """Native parameters of a load in runs of layers, and the arrays that must outlive the load."""
    params = _params()
    params.n_gpu_layers = sum(split.n_layers)
    devices = _listed(split.gpus)
    params.devices = ctypes.addressof(devices)
    if params.n_gpu_layers:
        params.tensor_split = _array(split.n_layers)
    return params, (devices,)


def load_params(options: Devices, offload: Offload) -> tuple[Any, tuple[Any, ...]]:
    """Native parameters of a load, and the arrays they point to, which must outlive the load.

    Raises UsageError for a tensor override that cannot be.
    """
    params = _params()
    if options.n_gpu_layers is not None:
        params.n_gpu_layers = options.n_gpu_layers
    if offload.shares:
        params.tensor_split = _array(offload.shares)
    devices = _listed(offload.gpus)
    # By default, llama.cpp takes all devices, those of all servers that it knows among them.
    if options.names is not None or has_other_servers(options.rpc):
        params.devices = ctypes.addressof(devices)
    if not options.overrides:
        return params, (devices,)
    overrides = override_list(options.overrides, (cpu_device(), *offload.gpus))
    params.tensor_buft_overrides = ctypes.addressof(overrides)
    return params, (devices, overrides)


def _params() -> Any:
    params = llama_cpp().llama_model_default_params()
    params.progress_callback = _go_on_callback()
    return params


def _listed(devices: Sequence[Device]) -> Any:
    """Native devices, with a null behind them."""
    return (ctypes.c_void_p * (len(devices) + 1))(*(device.handle for device in devices), None)


@cache
def _go_on_callback() -> Any:
    """Called by llama.cpp behind each tensor that it has loaded: whether to load the next."""

    def go_on(_progress: float, _user_data: object) -> bool:
        beat()
        return not is_stop_requested()

    return llama_cpp().llama_progress_callback(go_on)


def _array(shares: Sequence[float]) -> Any:
    return (ctypes.c_float * int(llama_cpp().llama_max_devices()))(*shares)
