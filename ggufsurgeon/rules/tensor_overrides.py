"""Tensors in the memory of another device than that of their block, such as experts on the CPU.

An override is a regular expression and a buffer. The first one that is found in the name of a
tensor decides (`tensor_buft_overrides`, include/llama.h; src/llama-model-loader.cpp:1234-1262).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError

CPU_BUFFER = "CPU"
"""The name of the CPU's buffers."""
EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The weights of experts (`LLM_FFN_EXPS_REGEX`, common/common.h:1198)."""
MAX_BLOCKS = 512
"""Blocks of the deepest model that llama.cpp runs (`LLAMA_MAX_LAYERS`, src/llama-hparams.h:11)."""


class TensorOverride(NamedTuple):
    """The buffer of the tensors whose names a regular expression is found in."""

    pattern: str
    buffer: str
    """A buffer type by llama.cpp's name for it, or the device that it is of: CPU, CUDA0."""


def tensor_overrides(
    named: Sequence[tuple[str, str]], n_cpu_moe: int
) -> tuple[TensorOverride, ...]:
    """Expressions with their buffers, then the experts of the first `n_cpu_moe` blocks."""
    return (*(TensorOverride(*each) for each in named), *_experts_on_cpu(n_cpu_moe))


def _experts_on_cpu(n_blocks: int) -> tuple[TensorOverride, ...]:
    """The override that keeps the experts of the first `n_blocks` on the CPU; -1 is for all.

    One expression stands for llama.cpp's list of one for each block, which it compiles anew for
    every tensor (`llm_add_n_cpu_ffn_overrides`, common/common.h:1210).
    """
    if n_blocks == 0:
        return ()
    if not 0 < n_blocks < MAX_BLOCKS:
        return (TensorOverride(EXPERTS, CPU_BUFFER),)
    numbers = "|".join(map(str, range(n_blocks)))
    return (TensorOverride(rf"blk\.({numbers}){EXPERTS}", CPU_BUFFER),)


def override_of(name: str, overrides: Sequence[TensorOverride]) -> TensorOverride | None:
    """The override of a tensor, by its name. Raises UsageError for what is no expression."""
    return next((each for each in overrides if _compiled(each.pattern).search(name)), None)


def n_bytes_of_overrides(
    file: GgufFile, overrides: Sequence[TensorOverride]
) -> dict[TensorOverride, list[int]]:
    """For each override the sizes, in bytes, of the tensors of a file that it decides about."""
    found: dict[TensorOverride, list[int]] = {override: [] for override in overrides}
    for tensor, n_bytes in zip(file.header.tensors, file.layout.tensor_n_bytes, strict=True):
        override = override_of(tensor.name, overrides)
        if override is not None:
            found[override].append(n_bytes)
    return found


def overrides_of_nothing(
    file: GgufFile, overrides: Sequence[TensorOverride]
) -> list[TensorOverride]:
    """The overrides whose expressions are found in no name of a tensor, whichever decides."""
    names = [tensor.name for tensor in file.header.tensors]
    return [each for each in overrides if not any(map(_compiled(each.pattern).search, names))]


def check_patterns(overrides: Sequence[TensorOverride]) -> None:
    """Raise UsageError for a pattern that is no regular expression."""
    for override in overrides:
        _compiled(override.pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """The expression; Python's agree with llama.cpp's (ECMAScript) in all that names need."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"the tensor override {pattern!r} is no regular expression: {error}",
            hint=r"It is searched in names of tensors: ffn_.*_exps, say, or blk\.(0|1)\.attn.",
        ) from None
