"""The devices that llama.cpp can run on, and those of other machines, by its RPC protocol."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from ggufsurgeon.engine.devices.rpc_handshake import ANSWER_SECONDS, NOT_A_SERVER, check_rpc_server
from ggufsurgeon.engine.installation.library import ggml, llama_cpp
from ggufsurgeon.errors import MissingExtraError, UsageError

KINDS = ("CPU", "GPU", "integrated GPU", "accelerator", "meta")
"""`ggml_backend_dev_type`, ggml/include/ggml-backend.h."""

MAX_SERVERS = 16
"""`GGML_RPC_MAX_SERVERS`, ggml/include/ggml-rpc.h."""


@dataclass(frozen=True)
class Device:
    """One device, as its backend describes it."""

    name: str
    description: str
    kind: str
    buffer: str
    """What llama.cpp's log calls its buffers."""
    n_bytes_free: int
    n_bytes_total: int
    handle: int = field(repr=False)
    """The native device, a `ggml_backend_dev_t`."""


def list_devices() -> tuple[Device, ...]:
    """All devices that are registered, the CPU among them."""
    llama_cpp()
    return tuple(_describe(device) for device in _pointers())


def offload_devices(hosts: Sequence[str], names: Sequence[str] | None) -> tuple[Device, ...]:
    """The devices that layers go to and a tensor split counts, in its order.

    Those that `names` names, in its order. With None, those of the RPC servers at `hosts`, then the
    machine's GPUs, or its integrated GPUs where it has no others (src/llama.cpp:276-285). Servers
    that other models of this process use are left out. Raises UsageError for a name that none has.
    """
    there = list_devices()
    every_server = {handle for handles in _servers.values() for handle in handles}
    asked = {handle for host in hosts for handle in _servers[host]}
    remote = [device for device in there if device.handle in asked]
    own = [device for device in there if device.handle not in every_server]
    gpus = [device for device in own if device.kind == "GPU"]
    integrated = [device for device in own if device.kind == "integrated GPU"]
    if names is not None:
        return _named((*remote, *gpus, *integrated), names)
    return (*remote, *(gpus or integrated))


def _named(there: Sequence[Device], names: Sequence[str]) -> tuple[Device, ...]:
    """The devices of these names, in their order."""
    by_name = {device.name: device for device in there}
    missing = [name for name in names if name not in by_name]
    if missing or len(set(names)) < len(names):
        found = ", ".join(f"{device.name} ({device.description})" for device in there)
        problem = f"there is no {', '.join(missing)}" if missing else "each can be named once"
        raise UsageError(
            f"devices {','.join(names)}: {problem}; llama.cpp finds {found or 'no GPU'}",
            hint="Names are llama.cpp's, such as CUDA0, Vulkan1 or RPC0; none stands for the CPU.",
        )
    return tuple(by_name[name] for name in names)


def cpu_device() -> Device:
    """The CPU."""
    return next(device for device in list_devices() if device.kind == "CPU")


def buffer_type_of(device: Device) -> int | None:
    """The native type of a device's buffers, a `ggml_backend_buffer_type_t`."""
    return _pointer("ggml_backend_dev_buffer_type", ctypes.c_void_p(device.handle)).value


def backend_names() -> tuple[str, ...]:
    """The backends of this build, such as CPU, CUDA and RPC, with or without a device."""
    llama_cpp()
    indices = range(_size("ggml_backend_reg_count"))
    registries = [_pointer("ggml_backend_reg_get", ctypes.c_size_t(index)) for index in indices]
    names = [_text("ggml_backend_reg_name", registry) for registry in registries]
    return tuple(name for name in names if "[" not in name)  # those of single RPC servers


def has_other_servers(hosts: Sequence[str]) -> bool:
    """Whether RPC servers besides `hosts` are registered in this process."""
    return bool(_servers.keys() - set(hosts))


def gpu_descriptions() -> tuple[str, ...]:
    """Names of this machine's own GPUs. Their memory is not asked for, which would take some."""
    llama_cpp()
    remote = {handle for handles in _servers.values() for handle in handles}
    return tuple(
        _text("ggml_backend_dev_description", device)
        for device in _pointers()
        if "GPU" in _kind(device) and device.value not in remote
    )


def add_rpc_servers(hosts: Sequence[str]) -> None:
    """Register the devices of the servers at `hosts`, each HOST:PORT.

    Those that are registered stay so. Raises MissingExtraError when this llama.cpp was built
    without RPC, UsageError when a server cannot be used. One that breaks the protocol later
    makes llama.cpp abort the process.
    """
    if not hosts:
        return
    if len(set(hosts)) < len(hosts) or len(hosts) > MAX_SERVERS:
        raise UsageError(
            f"RPC servers {','.join(hosts)}: expected up to {MAX_SERVERS}, each named once"
        )
    llama_cpp()
    if not hasattr(ggml(), "ggml_backend_rpc_add_server"):
        raise MissingExtraError(
            "RPC servers need a llama.cpp with the RPC backend, and this llama-cpp-python has none",
            hint="CMAKE_ARGS=-DGGML_RPC=ON pip install --force-reinstall --no-cache-dir "
            "--no-binary llama-cpp-python llama-cpp-python",
        )
    for host in hosts:
        _register(host)


_servers: dict[str, tuple[int, ...]] = {}
"""Handles of the devices of each registered server."""


def _register(host: str) -> None:
    """Register a server once; llama.cpp would list the devices of a second time too."""
    if host in _servers:
        return
    check_rpc_server(host)
    registry = ctypes.c_void_p(_add_in_time(host))
    ggml().ggml_backend_register(registry)
    n_devices = _size("ggml_backend_reg_dev_count", registry)
    _servers[host] = tuple(
        _pointer("ggml_backend_reg_dev_get", registry, ctypes.c_size_t(index)).value or 0
        for index in range(n_devices)
    )


def _add_in_time(host: str) -> int:
    """The registry of a server's devices.

    llama.cpp waits for an answer without a limit, so a thread does, which goes with the process.
    """
    found: list[int | None] = []
    add = ggml().ggml_backend_rpc_add_server
    add.restype = ctypes.c_void_p
    thread = threading.Thread(target=lambda: found.append(add(host.encode())), daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not found:
        raise UsageError(
            f"RPC server {host}: it stopped answering while it listed its devices",
            hint=NOT_A_SERVER,
        )
    if found[0] is None:
        raise UsageError(f"RPC server {host}: it has no device", hint=NOT_A_SERVER)
    return found[0]


def _pointers() -> list[ctypes.c_void_p]:
    indices = range(_size("ggml_backend_dev_count"))
    return [_pointer("ggml_backend_dev_get", ctypes.c_size_t(index)) for index in indices]


def _describe(device: ctypes.c_void_p) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml().ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return Device(
        name=_text("ggml_backend_dev_name", device),
        description=_text("ggml_backend_dev_description", device),
        kind=_kind(device),
        buffer=_text("ggml_backend_buft_name", _pointer("ggml_backend_dev_buffer_type", device)),
        n_bytes_free=free.value,
        n_bytes_total=total.value,
        handle=device.value or 0,
    )


def _kind(device: ctypes.c_void_p) -> str:
    kind = int(ggml().ggml_backend_dev_type(device))
    return KINDS[kind] if kind < len(KINDS) else f"type {kind}"


def _size(name: str, *arguments: object) -> int:
    function = getattr(ggml(), name)
    function.restype = ctypes.c_size_t
    return int(function(*arguments))


def _pointer(name: str, *arguments: object) -> ctypes.c_void_p:
    function = getattr(ggml(), name)
    function.restype = ctypes.c_void_p
    return ctypes.c_void_p(function(*arguments))


def _text(name: str, device: ctypes.c_void_p) -> str:
    function = getattr(ggml(), name)
    function.restype = ctypes.c_char_p
    return bytes(function(device)).decode("utf-8", "replace")
