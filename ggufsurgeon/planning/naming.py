"""`general.*` keys that depend on the number of blocks: name, size label, parameter count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue, TensorInfo
from ggufsurgeon.container.headers.values import (
    INTEGER_TYPES,
    SCALAR_WIDTHS,
    ValueType,
    encode_value,
)
from ggufsurgeon.layer_path.path import LayerPath

DESCRIPTIVE = frozenset({"general.name", "general.size_label", "general.parameter_count"})
"""Keys that do not reach the computation."""
LONGEST_PATH_IN_NAME = 40
"""Number of characters; a longer path is given as its number of blocks."""


def descriptive_pairs(
    header: Header, tensors: Sequence[TensorInfo], path: LayerPath, given: str | None = None
) -> Iterator[KeyValue]:
    """New pairs for those of the keys that the model has, and for the name that is given."""
    name = header.get("general.name")
    if given is not None:
        yield _string(header, "general.name", given)
    elif isinstance(name, str):
        fits = len(str(path)) <= LONGEST_PATH_IN_NAME
        suffix = f"blocks {path}" if fits else f"{len(path)} blocks"
        yield _string(header, "general.name", f"{name} ({suffix})")
    if isinstance(header.get("general.size_label"), str):
        yield _string(header, "general.size_label", size_label(tensors))
    count = header.pair_of.get("general.parameter_count")
    if count is not None and count.value_type in INTEGER_TYPES:
        n_parameters = sum(math.prod(tensor.dims) for tensor in tensors)
        fits = n_parameters < 256 ** SCALAR_WIDTHS[count.value_type] // 2
        kind = count.value_type if fits else ValueType.UINT64
        value = encode_value(kind, n_parameters, header.byte_order)
        yield make_pair(count.key, kind, value, header.byte_order)


def size_label(tensors: Sequence[TensorInfo]) -> str:
    """`135M`, or `8x7B` for experts, as gguf's writer counts (gguf_writer.py:113-160)."""
    shared = expert = 0
    expert_counts = []
    for tensor in tensors:
        n_elements = math.prod(tensor.dims)
        if "_exps." in tensor.name and len(tensor.dims) >= 3:
            expert_counts.append(tensor.dims[2])
            expert += n_elements // max(tensor.dims[2], 1)
        else:
            shared += n_elements
    n_experts = sum(expert_counts) // len(expert_counts) if expert_counts else 0
    return f"{n_experts}x{_rounded(shared + expert)}" if n_experts else _rounded(shared)


def _rounded(n_parameters: int) -> str:
    """`135M`, `1.7B`: at least two digits, as gguf's `model_weight_count_rounded_notation`.

    gguf-py (gguf/utility.py:21-40) is not imported for it, since that takes 0.1 s.
    """
    exponent = next((e for e in (12, 9, 6) if n_parameters > 10**e), 3)
    scaled = n_parameters * float(f"1e-{exponent}")
    n_decimals = max(2 - len(str(round(scaled)).lstrip("0")), 0)
    return f"{scaled:.{n_decimals}f}{'KMBT'[exponent // 3 - 1]}"


def _string(header: Header, key: str, text: str) -> KeyValue:
    value = encode_value(ValueType.STRING, text, header.byte_order)
    return make_pair(key, ValueType.STRING, value, header.byte_order)
