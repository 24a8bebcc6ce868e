"""The devices of an aliased model: its weights where the source has them, its cache beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.aliasing.device_split import CPU, gpu_runs
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.devices.registry import offload_devices
from ggufsurgeon.engine.load_params import LayerSplit
from ggufsurgeon.engine.model import Devices


@dataclass(frozen=True)
class Placement:
    """A position of a layer path, and the devices of its weights and of its cache."""

    position: int
    block: int
    weights: str
    cache: str

    @property
    def is_apart(self) -> bool:
        """Whether the cache is on another device than the weights."""
        return self.weights != self.cache


def placements(
    blocks: Sequence[int], source: Sequence[DeviceUse], aliased: Sequence[DeviceUse]
) -> tuple[Placement, ...]:
    """The placement of each position, given where the source's and the aliased blocks are."""
    weights, caches = _by_block(source), _by_block(aliased)
    return tuple(
        Placement(position, block, weights[block], caches[position])
        for position, block in enumerate(blocks)
    )


def placements_in(blocks: Sequence[int], source: Sequence[DeviceUse]) -> tuple[Placement, ...]:
    """The placement of each position of a path that the source itself runs, plain or routed."""
    where = _by_block(source)
    return tuple(Placement(n, block, where[block], where[block]) for n, block in enumerate(blocks))


def split_beside(
    options: Devices, blocks: Sequence[int], source: Sequence[DeviceUse]
) -> LayerSplit:
    """The devices to load an aliased model on, so that each cache is beside its block's weights.

    Blocks on the CPU that come behind others have their cache elsewhere.
    """
    gpus = offload_devices(options.rpc, options.names)
    index = {gpu.name: n for n, gpu in enumerate(gpus)}
    where = _by_block(source)
    output = next((use.device for use in source if use.has_output), "CPU")
    layers = [index.get(name, CPU) for name in (*(where[block] for block in blocks), output)]
    runs = gpu_runs(layers, len(gpus))
    return LayerSplit(
        gpus=tuple(gpus[run.device] for run in runs), n_layers=tuple(run.n_layers for run in runs)
    )


def _by_block(uses: Sequence[DeviceUse]) -> dict[int, str]:
    return {block: use.device for use in uses for block in use.blocks}
