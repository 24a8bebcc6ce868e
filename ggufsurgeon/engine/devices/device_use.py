"""The memory that each device holds of a loaded model, read from llama.cpp's log.

C has no other source: `llama_get_memory_breakdown` (src/llama-ext.h:91) returns a C++ map, whose
layout depends on the compiler. Sizes are rounded as the log prints them, MiB with two decimals:
layers src/llama-model.cpp:1594-1599, weights 1930, keys and values src/llama-kv-cache.cpp:291,
state src/llama-memory-recurrent.cpp:124 and src/llama-kv-cache-dsv4.cpp:992, compute and output
buffers src/llama-context.cpp:740 and 381. Weights on the CPU, where the file is mapped, are the
part of it from the first to the last of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.engine.devices.registry import Device, list_devices

_LAYER = re.compile(r"load_tensors: layer +(\d+) assigned to device ([^,]+),")
_BUFFER = re.compile(r"\w+: +(\S+) .*?(model|KV|RS|state|compute|output) buffer size = +([\d.]+)")
_NEW_MODEL = "load_tensors: loading model tensors"
_NEW_CONTEXT = "constructing llama_context"
_KINDS = {"RS": "state", "output": "compute"}


@dataclass(frozen=True)
class DeviceUse:
    """A device and its part of one model and one context."""

    device: str
    description: str
    blocks: tuple[int, ...]
    has_output: bool
    n_bytes_weights: int
    n_bytes_kv: int
    n_bytes_state: int
    """Recurrent state."""
    n_bytes_compute: int
    n_bytes_memory: int
    """Total memory of the device."""


class UseLog:
    """Reader of the log lines about the last model loaded and the last context made."""

    def __init__(self) -> None:
        self._layers: dict[int, str] = {}
        self._bytes: Counter[tuple[str, str]] = Counter()

    def read(self, line: str) -> None:
        """Take in a line of the log."""
        if _NEW_MODEL in line:
            self._layers.clear()
            self._bytes.clear()
        elif _NEW_CONTEXT in line:
            weights = {key: n for key, n in self._bytes.items() if key[1] == "model"}
            self._bytes = Counter(weights)
        elif match := _LAYER.match(line):
            self._layers[int(match[1])] = match[2]
        elif match := _BUFFER.match(line):
            kind = _KINDS.get(match[2], match[2])
            self._bytes[match[1], kind] += round(float(match[3]) * 1024 * 1024)

    def devices(self) -> tuple[DeviceUse, ...]:
        """Devices that hold a part: the CPU first, then in the order of their blocks."""
        there = list_devices()
        sums: Counter[tuple[str, str]] = Counter()
        for (buffer, kind), n_bytes in self._bytes.items():
            sums[_owner(buffer, there), kind] += n_bytes
        holders = {name for name, _ in sums} | set(self._layers.values())
        uses = [self._use(device, sums) for device in there if device.name in holders]
        return tuple(sorted(uses, key=lambda use: (use.device != "CPU", use.blocks)))

    def _use(self, device: Device, sums: Counter[tuple[str, str]]) -> DeviceUse:
        layers = sorted(n for n, name in self._layers.items() if name == device.name)
        output = max(self._layers, default=-1)  # it counts as one layer more
        return DeviceUse(
            device=device.name,
            description=device.description,
            blocks=tuple(n for n in layers if n != output),
            has_output=output in layers,
            n_bytes_weights=sums[device.name, "model"],
            n_bytes_kv=sums[device.name, "KV"],
            n_bytes_state=sums[device.name, "state"],
            n_bytes_compute=sums[device.name, "compute"],
            n_bytes_memory=device.n_bytes_total,
        )


def _owner(buffer: str, devices: Sequence[Device]) -> str:
    """The device of a buffer. Mapped files are `NAME_Mapped`; other host memory is the CPU's."""
    for device in devices:
        if buffer == device.buffer or buffer.startswith(f"{device.name}_"):
            return device.name
    return next(device.name for device in devices if device.kind == "CPU")
