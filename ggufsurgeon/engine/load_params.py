"""llama.cpp's parameters of a load, by the devices that a model is to run on."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ggufsurgeon.engine.devices.heartbeat import beat
from ggufsurgeon.engine.devices.registry import Device, has_other_servers, offload_devices
from ggufsurgeon.engine.library import llama_cpp
from ggufsurgeon.engine.stopping import is_stop_requested
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.engine.model import Devices


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


def load_params(options: Devices) -> tuple[Any, tuple[Any, ...]]:
    """Native parameters of a load, and the arrays they point to, which must outlive the load.

    Raises UsageError when the tensor split has more shares than there are GPUs.
    """
    params = _params()
    if options.n_gpu_layers is not None:
        params.n_gpu_layers = options.n_gpu_layers
    gpus = offload_devices(options.rpc)
    if options.tensor_split:
        params.tensor_split = _shares(options.tensor_split, [gpu.name for gpu in gpus])
    devices = _listed(gpus)
    if has_other_servers(options.rpc):  # by default, llama.cpp takes all servers that it knows
        params.devices = ctypes.addressof(devices)
    return params, (devices,)


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


def _shares(split: Sequence[float], gpus: Sequence[str]) -> Any:
    """A tensor split as the array that llama.cpp reads: floats, one for each possible device.

    Raises UsageError for more shares than `gpus`, of which llama.cpp would ignore some.
    """
    if len(split) > len(gpus):
        shares = ",".join(f"{share:g}" for share in split)
        raise UsageError(
            f"the tensor split {shares} names {len(split)} devices, and llama.cpp finds "
            f"{len(gpus)} GPUs{': ' * bool(gpus)}{', '.join(gpus)}",
            hint="Give one share for each GPU, in this order; a build without GPUs takes none.",
        )
    return _array(split)


def _array(shares: Sequence[float]) -> Any:
    return (ctypes.c_float * int(llama_cpp().llama_max_devices()))(*shares)
