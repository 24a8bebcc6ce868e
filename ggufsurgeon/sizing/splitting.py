"""Assignment of layers to devices: llama.cpp's rule, and shares that balance the bytes."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from ggufsurgeon.errors import UsageError
from ggufsurgeon.rules.tensor_overrides import CPU_BUFFER

CPU = -1
"""Index of the CPU among the devices; GPUs count from 0."""


def assign_layers(n_blocks: int, shares: Sequence[float], n_gpu_layers: int) -> list[int]:
    """The device of each layer: of all blocks, then of the output. A GPU's index, or CPU.

    The last `n_gpu_layers` of these n_blocks + 1 go to the GPUs (all with -1), each getting its
    share of their number (src/llama-model.cpp:1579-1614), in 32-bit floats as there.
    """
    n_layers = n_blocks + 1
    n_on_gpus = n_layers if n_gpu_layers < 0 else min(n_gpu_layers, n_layers)
    sums = list(accumulate(map(_float32, shares), lambda a, b: _float32(a + b)))
    ends = [_float32(end / sums[-1]) for end in sums] if sums else []
    on_gpus = [bisect_right(ends, _float32(n / n_on_gpus)) for n in range(n_on_gpus if ends else 0)]
    return [CPU] * (n_layers - len(on_gpus)) + on_gpus


def device_of(buffer: str, n_gpus: int) -> int:
    """The device of a buffer by its name: CPU for `CPU`, the GPU of its number for `CUDA1`.

    A name without a number is that of the only GPU. Raises UsageError for what is none of these.
    """
    if buffer == CPU_BUFFER:
        return CPU
    match = re.fullmatch(r"[A-Za-z_]+(\d{0,3})", buffer)
    if match and n_gpus and int(match[1] or 0) < n_gpus and (match[1] or n_gpus == 1):
        return int(match[1] or 0)
    raise UsageError(
        f"the buffer {buffer} is of no device: there are the CPU and {n_gpus} GPUs",
        hint="GPUs count from 0, in the order of their shares: CUDA0 is the first.",
    )


def _float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def balanced_shares(n_bytes: Sequence[int], shares: Sequence[float]) -> tuple[int, ...]:
    """Numbers of layers, one a GPU, whose bytes come nearest to `shares` of all bytes.

    `n_bytes` are the sizes of the layers on GPUs, in order. As a tensor split, these numbers give
    each GPU exactly that number of layers.
    """
    before = [0, *accumulate(n_bytes)]
    ends = [0]
    for wanted in accumulate(shares):
        goal = before[-1] * wanted / sum(shares)
        nearest = min(range(len(before)), key=lambda n: abs(before[n] - goal))
        ends.append(max(nearest, ends[-1]))
    return tuple(end - start for start, end in pairwise(ends))
