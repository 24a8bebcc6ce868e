"""Which device held what, of models that were run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.cli.memory import layers_text
from ggufsurgeon.cli.terminal import n_bytes_text, print_table

if TYPE_CHECKING:
    from ggufsurgeon.engine.device_use import DeviceUse

COLUMNS = ("", "device", "blocks", "weights", "KV", "state", "compute", "all", "of")


def print_devices(runs: Sequence[tuple[str, Sequence[DeviceUse]]]) -> None:
    """A table, if anything but the CPU was used. `runs` are names of models and their devices."""
    if any(use.device != "CPU" for _, devices in runs for use in devices):
        print_table("Devices", COLUMNS, list(_rows(runs)))


def _rows(runs: Sequence[tuple[str, Sequence[DeviceUse]]]) -> Iterator[list[str]]:
    for name, devices in runs:
        for n, use in enumerate(devices):
            sizes = (
                use.n_bytes_weights,
                use.n_bytes_kv,
                use.n_bytes_state,
                use.n_bytes_compute,
            )
            yield [
                name if n == 0 else "",
                f"{use.device} ({use.description})",
                layers_text(use.blocks, use.has_output),
                *map(n_bytes_text, (*sizes, sum(sizes), use.n_bytes_memory)),
            ]
