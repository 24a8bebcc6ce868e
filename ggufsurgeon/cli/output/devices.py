"""What each device held of models that ran, and where the positions of a layer path are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.cli.output.memory import layers_text
from ggufsurgeon.cli.output.serializers import placements_as_json
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_note, print_table

if TYPE_CHECKING:
    from ggufsurgeon.aliasing.placement import Placement
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


def print_placements(placements: Sequence[Placement]) -> None:
    """Notes of where the positions of a path are, if any are not on the CPU."""
    rows = placements_as_json(placements)
    if any(row["device"] != "CPU" for row in rows):
        for row in rows:
            weights, cache = (layers_text(row[key], False) for key in ("weights_of", "cache_of"))
            print_note(f"{row['device']}: weights of positions {weights}, cache of {cache}")


def _row(use: DeviceUse) -> tuple[str, ...]:
    n_bytes_cache = use.n_bytes_kv + use.n_bytes_state
    sizes = (use.n_bytes_weights, n_bytes_cache, use.n_bytes_compute)
    return (
        use.device,
        layers_text(use.blocks, use.has_output),
        *map(n_bytes_text, (*sizes, sum(sizes))),
    )
