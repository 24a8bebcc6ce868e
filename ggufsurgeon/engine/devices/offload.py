"""The GPUs that a model is to run on and their shares, before anything is loaded."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.engine.devices.heartbeat import awaiting
from ggufsurgeon.engine.devices.options import Devices
from ggufsurgeon.engine.devices.registry import (
    Device,
    add_rpc_servers,
    backend_names,
    offload_devices,
)
from ggufsurgeon.engine.installation.build import engine_version
from ggufsurgeon.errors import UsageError

NO_GPU_BACKENDS = frozenset({"CPU", "RPC", "BLAS"})
"""Backends of builds that run on no GPU of this machine."""
INSTALL = (
    "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
HOW_TO_BUILD = f"""Build llama-cpp-python for the GPU, by the line for its kind:
  NVIDIA       CMAKE_ARGS=-DGGML_CUDA=on {INSTALL}
  Apple        CMAKE_ARGS=-DGGML_METAL=on {INSTALL}
  most others  CMAKE_ARGS=-DGGML_VULKAN=on {INSTALL}
"""
ALLOW = "With allow_cpu, the model runs on what is there."


class Offload(NamedTuple):
    """GPUs, RPC devices among them, and their shares of the layers."""

    gpus: tuple[Device, ...]
    shares: tuple[float, ...]
    """In the order of `gpus`; empty for llama.cpp's own, by free memory."""
    lacking: str
    """What was asked for and is not there, as far as `allow_cpu` allows it; else empty."""


def find_offload(options: Devices) -> Offload:
    """The GPUs that the layers of a model go to with `options`, and how they share them.

    Raises UsageError when the options name more GPUs than there are and do not allow the CPU, or a
    device or an RPC server that cannot be used; MissingExtraError without llama-cpp-python.
    """
    add_rpc_servers(options.rpc)
    with awaiting(options.rpc, options.rpc_timeout_s):
        gpus = offload_devices(options.rpc, options.names)
    shares = options.tensor_split
    lacking = _lacking(options, gpus)
    if lacking and not options.allow_cpu:
        raise UsageError(lacking, hint=_hint(options, gpus))
    there = shares[: len(gpus)]
    return Offload(gpus, there if any(there) else (), lacking)


def _lacking(options: Devices, gpus: tuple[Device, ...]) -> str:
    """What the options ask for and llama.cpp does not have; empty when there is nothing."""
    shares, n_layers = options.tensor_split, options.n_gpu_layers or 0
    if len(shares) > len(gpus):
        split = ",".join(f"{share:g}" for share in shares)
        asked = f"the tensor split {split} names {len(shares)} devices"
    elif n_layers > 0 and not gpus and options.names != ():
        asked = f"{n_layers} layers are to go to GPUs"
    else:
        return ""
    names = ", ".join(gpu.name for gpu in gpus)
    found = f"llama.cpp finds {len(gpus)} GPUs{': ' * bool(gpus)}{names}"
    return f"{asked}, and {found} ({build_line()})"


def build_line() -> str:
    """The versions of the llama.cpp in use, and its backends."""
    return f"{engine_version()}, built with {', '.join(backend_names())}"


def _hint(options: Devices, gpus: tuple[Device, ...]) -> str:
    gpu_backends = [name for name in backend_names() if name not in NO_GPU_BACKENDS]
    if gpus or options.names is not None:
        return f"Give one share for each GPU, in this order. {ALLOW}"
    if gpu_backends:
        return (
            f"This build is for {', '.join(gpu_backends)}, which finds no device: check the driver "
            f"and what hides devices (CUDA_VISIBLE_DEVICES, a container). {ALLOW}"
        )
    return HOW_TO_BUILD + ALLOW
