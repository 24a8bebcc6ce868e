"""The table of what each device held of models that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.cli.memory import layers_text
from ggufsurgeon.cli.terminal import n_bytes_text, print_table

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.device_use import DeviceUse

COLUMNS = ("device", "blocks", "weights", "cache", "compute", "total")


def print_devices(runs: Sequence[tuple[str, Sequence[DeviceUse]]]) -> None:
    """Tables, if anything but the CPU was used. `runs` are names of models and their devices."""
    if all(use.device == "CPU" for _, devices in runs for use in devices):
        return
    for name, devices in runs:
        print_table(f"Devices: {name}", COLUMNS, [_row(use) for use in devices])
    found = {
        use.device: (use.device, use.description, n_bytes_text(use.n_bytes_memory))
        for _, devices in runs
        for use in devices
    }
    print_table("Memory of the devices", ("device", "", "memory"), list(found.values()))


def _row(use: DeviceUse) -> tuple[str, ...]:
    n_bytes_cache = use.n_bytes_kv + use.n_bytes_state
    sizes = (use.n_bytes_weights, n_bytes_cache, use.n_bytes_compute)
    return (
        use.device,
        layers_text(use.blocks, use.has_output),
        *map(n_bytes_text, (*sizes, sum(sizes))),
    )
