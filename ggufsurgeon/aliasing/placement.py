"""Devices of an aliased model: its weights where the sources have them, its cache beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ggufsurgeon.aliasing.device_split import CPU, gpu_runs
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.devices.registry import offload_devices
from ggufsurgeon.engine.load_params import LayerSplit
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.path import LayerPath

Uses: TypeAlias = Sequence[Sequence[DeviceUse]]
"""What each device holds of each source, by the index of the model."""


@dataclass(frozen=True)
class Placement:
    """A position of a layer path, and the devices of its weights and of its cache."""

    position: int
    source: int
    block: int
    weights: str
    cache: str

    @property
    def is_apart(self) -> bool:
        """Whether the cache is on another device than the weights."""
        return self.weights != self.cache


def placements(
    path: LayerPath, sources: Uses, aliased: Sequence[DeviceUse]
) -> tuple[Placement, ...]:
    """The placement of each position, given where the sources' and the aliased blocks are."""
    (caches,) = _by_block([aliased])
    return _placements(path, sources, [caches[n] for n in range(len(path))])


def placements_in(path: LayerPath, sources: Uses) -> tuple[Placement, ...]:
    """The placement of each position of a path that the sources themselves run, plain or routed."""
    return _placements(path, sources, None)


def _placements(
    path: LayerPath, sources: Uses, caches: Sequence[str] | None
) -> tuple[Placement, ...]:
    where = _by_block(sources)
    weights = [where[step.source][step.block] for step in path.steps]
    return tuple(
        Placement(n, step.source, step.block, device, cache)
        for n, (step, device, cache) in enumerate(
            zip(path.steps, weights, caches or weights, strict=True)
        )
    )


def split_beside(options: Devices, path: LayerPath, sources: Uses, output: int) -> LayerSplit:
    """The devices to load an aliased model on, so that each cache is beside its block's weights.

    `output` is the source that the output is of. Blocks on the CPU that come behind others have
    their cache elsewhere.
    """
    gpus = offload_devices(options.rpc, options.names)
    index = {gpu.name: n for n, gpu in enumerate(gpus)}
    where = _by_block(sources)
    of_output = next((use.device for use in sources[output] if use.has_output), "CPU")
    names = [*(where[step.source][step.block] for step in path.steps), of_output]
    runs = gpu_runs([index.get(name, CPU) for name in names], len(gpus))
    return LayerSplit(
        gpus=tuple(gpus[run.device] for run in runs), n_layers=tuple(run.n_layers for run in runs)
    )


def _by_block(sources: Uses) -> list[dict[int, str]]:
    return [{block: use.device for use in uses for block in use.blocks} for uses in sources]
