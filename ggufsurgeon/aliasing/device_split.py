"""The device of each layer of an aliased model: that of its weights, as far as llama.cpp can. Pure.

llama.cpp puts the first layers on the CPU and the others on a list of GPUs, a run of layers on each
(src/llama-model.cpp:1589-1602). A GPU may be in that list several times, so any order of GPUs can
be had; layers on the CPU come first. The output counts as one more layer behind the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

CPU = -1
"""The index of the CPU among the devices; GPUs count from 0."""
MAX_LISTED = 13
"""Entries of the list. A context has a backend for each, of at most 16 with the CPU and
accelerators (`GGML_SCHED_MAX_BACKENDS`, ggml/src/ggml-backend.cpp:764)."""


class Run(NamedTuple):
    """Consecutive layers on one device."""

    device: int
    n_layers: int


def gpu_runs(devices: Sequence[int], n_gpus: int) -> list[Run]:
    """The runs of GPUs that put as many layers as they can on the device `devices` has for each.

    GPUs without a layer come last: they may hold weights all the same.
    """
    n_first = min(range(len(devices) + 1), key=lambda end: _n_apart(devices, end))
    layers: list[int] = []
    for device in devices[n_first:]:  # the first is a GPU, or more layers would come before
        layers.append(layers[-1] if device == CPU else device)
    runs = _grouped(layers)
    while True:
        idle = [Run(gpu, 0) for gpu in range(n_gpus) if gpu not in layers]
        if len(runs) + len(idle) <= MAX_LISTED or not _can_merge(runs):
            return runs + idle
        runs = _with_fewer(runs)


def _n_apart(devices: Sequence[int], n_first: int) -> int:
    """Layers on another device than their own if the first are on the CPU and no other is."""
    on_cpu = sum(device == CPU for device in devices[n_first:])
    return on_cpu + sum(device != CPU for device in devices[:n_first])


def _can_merge(runs: Sequence[Run]) -> bool:
    return len({run.device for run in runs}) < len(runs)


def _with_fewer(runs: Sequence[Run]) -> list[Run]:
    """The runs without the shortest whose GPU has others: its layers go to the run beside it."""
    counts = Counter(run.device for run in runs)
    several = (n for n, run in enumerate(runs) if counts[run.device] > 1)
    shortest = min(several, key=lambda n: runs[n].n_layers)
    beside = runs[shortest - 1 if shortest else 1].device
    layers = [
        beside if n == shortest else run.device
        for n, run in enumerate(runs)
        for _ in range(run.n_layers)
    ]
    return _grouped(layers)


def _grouped(layers: Sequence[int]) -> list[Run]:
    return [Run(device, len(list(group))) for device, group in groupby(layers)]
