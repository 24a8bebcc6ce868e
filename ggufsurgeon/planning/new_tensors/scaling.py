"""Scaling of tensors of every block by a factor, where `scale_weights` asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.planning.new_tensors.tensors import OutputTensor
from ggufsurgeon.rules.block_names import name_in_block
from ggufsurgeon.write_plan import ScaleSpan


def scale(
    file: GgufFile, tensors: Sequence[OutputTensor], factors: Mapping[str, float]
) -> list[OutputTensor]:
    """`tensors`, in which those with a factor are multiplied by it. They must be F32.

    `factors` are by the name of a tensor within its block.
    """
    return [
        _scaled(file, tensor, factors.get(name_in_block(tensor.name) or "")) for tensor in tensors
    ]


def _scaled(file: GgufFile, tensor: OutputTensor, factor: float | None) -> OutputTensor:
    if factor is None or tensor.source_tensor is None:
        return tensor
    n_bytes = file.layout.tensor_n_bytes[tensor.source_tensor]
    span = ScaleSpan(
        *file.place(tensor.source_tensor), n_bytes, f"{file.header.byte_order}f4", factor
    )
    return replace(tensor, spans=(span,))


def scaling_notes(factors: Mapping[str, float]) -> list[str]:
    """Notes for the user of a file with scaled tensors."""
    return [
        f"has {name} of every block multiplied by {factor:.6g}, because llama.cpp scales by "
        "another number for this number of blocks: it computes the same within rounding, not to "
        "the bit, and the patch is not reversible"
        for name, factor in factors.items()
    ]
