"""Devices of the positions of a layer path: each where its block is, as far as llama.cpp can. Pure.

llama.cpp puts the first layers on the CPU, and the others on the GPUs in their order, in runs
(src/llama-model.cpp:1580-1602). The output counts as one more layer behind the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

CPU = 0
"""The index of the CPU; GPUs follow from 1."""


class Split(NamedTuple):
    """llama.cpp's parameters for a split of the layers."""

    n_gpu_layers: int
    tensor_split: tuple[float, ...]
    """Layers of each GPU."""


def nearest_runs(devices: Sequence[int]) -> list[int]:
    """The non-decreasing devices that are equal to `devices` in as many places as possible."""
    n_devices = max(devices, default=CPU) + 1
    fewest = [0] * n_devices
    """Fewest differences of the layers so far, by the device of the last."""
    came_from: list[list[int]] = []
    for device in devices:
        best, choices = CPU, []
        for last in range(n_devices):
            best = last if fewest[last] < fewest[best] else best
            choices.append(best)
        fewest = [fewest[choice] + (last != device) for last, choice in enumerate(choices)]
        came_from.append(choices)
    runs: list[int] = []
    last = min(range(n_devices), key=fewest.__getitem__)
    for choices in reversed(came_from):
        runs.append(last)
        last = choices[last]
    return runs[::-1]


def split_of(runs: Sequence[int], n_gpus: int) -> Split:
    """The parameters that put each layer on the device of `runs`, which do not decrease."""
    counts = Counter(runs)
    shares = tuple(float(counts[gpu]) for gpu in range(1, n_gpus + 1))
    return Split(len(runs) - counts[CPU], shares if any(shares) else ())
