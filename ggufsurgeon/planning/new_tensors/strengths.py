"""Strengths and factors as tensors of the new file: scales that are added, or multiplied."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ggufsurgeon.architectures.strengths import QUERIES_AND_KEYS
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import Blocks, first_positions
from ggufsurgeon.rules.strengths import BIAS, SCALE, Scale, check_strengths, scales_of
from ggufsurgeon.write_plan import ScaleSpan, ValueSpan

NEEDS_SCALES = (
    "has {}, in the tensors {}: llama.cpp from before March 2026 (ggml-org/llama.cpp PR "
    "19769) refuses a file with such tensors, and builds between March and October 2026 may "
    "ignore some of them; mistral.rs 0.9.5 ignores them all, and transformers 5.24.0 does so or "
    "does not load the file"
)
LASTING = (
    "multiplies {} that the source has, and rounds them: the original cannot be restored from "
    "this file"
)
BEFORE_NORM = "multiplies {} by factors before a norm, which cancels them except for its epsilon"


@dataclass(frozen=True)
class Scales:
    """The scales that a path needs besides those of its blocks, and what it multiplies."""

    tensors: tuple[OutputTensor, ...]
    """All tensors of the new file; added ones come last."""
    added: tuple[str, ...]
    """Names of those that are added."""
    multiplied: tuple[str, ...]
    """Names of scales and biases that the source has, and that are multiplied."""


def with_scales(
    source: GgufFile, blocks: Blocks, tensors: Sequence[OutputTensor], path: LayerPath
) -> Scales:
    """`tensors` with the scales of the strengths and factors of `path`, MTP blocks included.

    Raises RefusedError as `check_strengths`.
    """
    check_strengths(source.header, blocks, path)
    wanted = list(_wanted(source, blocks, path))
    order = source.header.byte_order
    products = {name: each.factor for name, each in wanted if each.source_tensor is not None}
    multiplied = [_multiplied(source, tensor, products.get(tensor.name)) for tensor in tensors]
    added = [
        OutputTensor(
            name,
            None,
            (scale.n_elements,),
            (ValueSpan(struct.pack(f"{order}f", scale.factor) * scale.n_elements),),
        )
        for name, scale in wanted
        if scale.source_tensor is None
    ]
    names = tuple(tensor.name for tensor in added)
    return Scales((*multiplied, *added), names, tuple(products))


def _wanted(source: GgufFile, blocks: Blocks, path: LayerPath) -> Iterator[tuple[str, Scale]]:
    """The name of each scale in the new file, and the scale."""
    for position, step in enumerate(path.steps):
        for scale in scales_of(source.header, blocks, step):
            yield renumber(scale.name, position), scale


def _multiplied(source: GgufFile, tensor: OutputTensor, factor: float | None) -> OutputTensor:
    if factor is None or tensor.source_tensor is None:
        return tensor
    n_bytes = source.layout.tensor_n_bytes[tensor.source_tensor]
    place, dtype = source.place(tensor.source_tensor), f"{source.header.byte_order}f4"
    return replace(tensor, spans=(ScaleSpan(*place, n_bytes, dtype, factor),))


def strength_notes(path: LayerPath, scales: Scales) -> Iterator[str]:
    """Notes for the user of a file with strengths or factors."""
    if path.is_plain:
        return
    names = {name.split(".", 2)[2] for name in (*scales.added, *scales.multiplied)}
    of_scales = ", ".join(sorted(name for name in names if name.endswith(SCALE)))
    asked = {"strengths": any(s != FULL for s in path.strengths)}
    asked["factors of weights"] = any(step.factors for step in path.steps)
    what = " and ".join(kind for kind, is_asked in asked.items() if is_asked)
    yield NEEDS_SCALES.format(what, f"blk.N.{of_scales}")
    first = set(first_positions(path.blocks).values())
    lasting = [name for name in scales.multiplied if block_of(name) in first]
    if lasting:
        kinds = {"scales": SCALE, "biases": BIAS}
        there = [kind for kind, end in kinds.items() if any(n.endswith(end) for n in lasting)]
        yield LASTING.format(" and ".join(there))
    normed = _before_norms(scales)
    if normed:
        yield BEFORE_NORM.format(" and ".join(normed))
    silent = [str(n) for n, step in enumerate(path.steps) if step.adds_nothing]
    if silent:
        yield (
            f"has blocks that are multiplied by 0 ({', '.join(silent)}), which compute what is not "
            "used: a path without them gives the same results in less time and memory"
        )


def _before_norms(scales: Scales) -> list[str]:
    """The weights of queries and keys whose scales have a norm behind them in their block."""
    there = {tensor.name for tensor in scales.tensors}
    changed = [name for name in (*scales.added, *scales.multiplied) if name.endswith(SCALE)]
    return [
        weight
        for weight in QUERIES_AND_KEYS
        if any(
            name.endswith(f".{weight}{SCALE}")
            and f"{name.removesuffix(SCALE)}_norm.weight" in there
            for name in changed
        )
    ]
