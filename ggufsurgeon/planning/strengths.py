"""Strengths of blocks as tensors of the new file: scales that are added, or multiplied."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.planning.tensors import OutputTensor
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import Blocks, first_positions
from ggufsurgeon.rules.strengths import Scale, check_strengths, scales_of
from ggufsurgeon.write_plan import ScaleSpan, ValueSpan

NEEDS_SCALES = (
    "has strengths, in the tensors {}: llama.cpp from before March 2026 (ggml-org/llama.cpp PR "
    "19769) refuses a file with such tensors, and builds before that of October 2026, with which "
    "strengths were proven, may ignore some of them; mistral.rs 0.9.5 and transformers 5.24.0 "
    "ignore them all"
)
LASTING = (
    "multiplies scales that the source has, and rounds them: the original cannot be restored from "
    "this file"
)


@dataclass(frozen=True)
class Scales:
    """The scales that a path needs besides those of its blocks."""

    tensors: tuple[OutputTensor, ...]
    """All tensors of the new file; added ones come last."""
    added: tuple[str, ...]
    """Names of those that are added."""
    multiplied: tuple[str, ...]
    """Names of those that the source has, and that are multiplied."""


def with_scales(
    source: GgufFile, blocks: Blocks, tensors: Sequence[OutputTensor], path: LayerPath
) -> Scales:
    """`tensors` with the scales of the strengths of `path`, MTP blocks included.

    Raises RefusedError as `check_strengths`.
    """
    check_strengths(source.header, blocks, path)
    wanted = list(_wanted(source, blocks, path))
    order = source.header.byte_order
    products = {name: factor for name, scale, factor in wanted if scale.source_tensor is not None}
    multiplied = [_multiplied(source, tensor, products.get(tensor.name)) for tensor in tensors]
    added = [
        OutputTensor(
            name,
            None,
            (scale.n_elements,),
            (ValueSpan(struct.pack(f"{order}f", strength) * scale.n_elements),),
        )
        for name, scale, strength in wanted
        if scale.source_tensor is None
    ]
    names = tuple(tensor.name for tensor in added)
    return Scales((*multiplied, *added), names, tuple(products))


def _wanted(
    source: GgufFile, blocks: Blocks, path: LayerPath
) -> Iterator[tuple[str, Scale, float]]:
    """The name of each scale in the new file, the scale, and the strength of its block."""
    for position, step in enumerate(path.steps):
        if step.strength != FULL:
            for scale in scales_of(source.header, blocks, step.block):
                yield renumber(scale.name, position), scale, step.strength


def _multiplied(source: GgufFile, tensor: OutputTensor, factor: float | None) -> OutputTensor:
    if factor is None or tensor.source_tensor is None:
        return tensor
    n_bytes = source.layout.tensor_n_bytes[tensor.source_tensor]
    place, dtype = source.place(tensor.source_tensor), f"{source.header.byte_order}f4"
    return replace(tensor, spans=(ScaleSpan(*place, n_bytes, dtype, factor),))


def strength_notes(path: LayerPath, scales: Scales) -> Iterator[str]:
    """Notes for the user of a file with strengths."""
    if not path.has_strengths:
        return
    names = sorted({name.split(".", 2)[2] for name in (*scales.added, *scales.multiplied)})
    yield NEEDS_SCALES.format(f"blk.N.{', '.join(names)}")
    first = set(first_positions(path.blocks).values())
    if any(block_of(name) in first for name in scales.multiplied):
        yield LASTING
    silent = [str(n) for n, strength in enumerate(path.strengths) if strength == 0]
    if silent:
        yield (
            f"has blocks with the strength 0 ({', '.join(silent)}), which compute what is not "
            "used: a path without them gives the same results in less time and memory"
        )
