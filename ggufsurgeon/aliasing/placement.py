"""The devices of an aliased model: its weights where the source has them, its cache beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ggufsurgeon.aliasing.device_split import CPU, nearest_runs, split_of
from ggufsurgeon.engine.device_use import DeviceUse
from ggufsurgeon.engine.devices import offload_devices
from ggufsurgeon.engine.model import Devices


@dataclass(frozen=True)
class Placement:
    """A position of a layer path, and the devices of its weights and of its cache."""

    position: int
    block: int
    weights: str
    cache: str


def placements(
    blocks: Sequence[int], source: Sequence[DeviceUse], aliased: Sequence[DeviceUse]
) -> tuple[Placement, ...]:
    """The placement of each position, given where the source's and the aliased blocks are."""
    weights, caches = _by_block(source), _by_block(aliased)
    return tuple(
        Placement(position, block, weights[block], caches[position])
        for position, block in enumerate(blocks)
    )


def split_options(options: Devices, blocks: Sequence[int], source: Sequence[DeviceUse]) -> Devices:
    """The devices to load an aliased model on, so that each cache is beside its block's weights.

    llama.cpp splits layers in runs, in the order of its devices. A path that goes back and forth
    between devices has some caches on another device than the weights.
    """
    gpus = offload_devices(options.rpc)
    if not gpus:
        return options
    index = {gpu.name: n for n, gpu in enumerate(gpus, CPU + 1)}
    where = _by_block(source)
    output = next((use.device for use in source if use.has_output), "CPU")
    devices = [index.get(name, CPU) for name in (*(where[block] for block in blocks), output)]
    split = split_of(nearest_runs(devices), len(gpus))
    return replace(options, n_gpu_layers=split.n_gpu_layers, tensor_split=split.tensor_split)


def _by_block(uses: Sequence[DeviceUse]) -> dict[int, str]:
    return {block: use.device for use in uses for block in use.blocks}
