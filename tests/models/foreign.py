"""GGUF files that are no whole language model, as they are found in the wild."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.container.layout import pad
from tests.models.builders import (
    STRING,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_pairs,
    pair,
)


def of_architecture(name: str, *more: bytes, tensors: list[Tensor] | None = None) -> bytes:
    return gguf([pair("general.architecture", STRING, name), *more], tensors or [Tensor("x")])


QWEN_IMAGE = of_architecture(
    "qwen_image",
    pair("general.quantization_version", U32, 2),
    pair("general.file_type", U32, 14),
    tensors=[Tensor("transformer_blocks.0.attn.to_q.weight"), Tensor("img_in.weight")],
)
"""As ComfyUI-GGUF converts Qwen-Image: three pairs."""
STABLE_DIFFUSION = gguf(
    [], [Tensor("model.diffusion_model.input_blocks.0.0.weight"), Tensor("first_stage_model.x")]
)
"""As stable-diffusion.cpp writes: no metadata."""
WAN = of_architecture(
    "wan", tensors=[Tensor("patch_embedding.weight", (2, 2, 1, 2, 1)), Tensor("blocks.0.x")]
)
"""A video model, with a tensor of 5 dimensions."""
FIVE_DIMS = gguf([], [Tensor("patch_embedding.weight", (2, 2, 1, 2, 1))])
VISION_TENSORS = ("v.blk.0.attn_q.weight", "v.patch_embedding.weight", "mm.input_projection.weight")
OLLAMA = gguf(
    [*llama_pairs(3), pair("llama.vision.block_count", U32, 1)],
    [*block_tensors(3), *map(Tensor, VISION_TENSORS)],
)
"""As Ollama converts a model that reads images: both parts in one file."""
MMPROJ = of_architecture(
    "clip", pair("general.type", STRING, "mmproj"), tensors=[*map(Tensor, VISION_TENSORS)]
)
LORA = of_architecture(
    "llama",
    pair("general.type", STRING, "adapter"),
    pair("adapter.type", STRING, "lora"),
    tensors=[Tensor("blk.0.attn_q.weight.lora_a"), Tensor("blk.0.attn_q.weight.lora_b")],
)
IMATRIX = gguf(
    [pair("general.type", STRING, "imatrix")],
    [Tensor("blk.0.attn_q.weight.in_sum2"), Tensor("blk.0.attn_q.weight.counts")],
)
VOCABULARY = gguf(llama_pairs(3, pair("tokenizer.ggml.model", STRING, "llama")))
CONTROL_VECTOR = of_architecture("controlvector", tensors=[Tensor("direction.1")])


def with_tensors(source: Path, destination: Path, *names: str) -> Path:
    """Write the model at `source` with more tensors of 8 numbers behind its own."""
    file = open_gguf(source)
    end = file.layout.data_n_bytes
    more = [TensorInfo(name, (8,), 0, end + 32 * n) for n, name in enumerate(names)]
    raw = serialize_header(replace(file.header, tensors=(*file.header.tensors, *more)))
    data = source.read_bytes()[file.layout.data_start :].ljust(end, b"\0")
    padding = bytes(pad(len(raw), file.header.alignment) - len(raw))
    destination.write_bytes(raw + padding + data + bytes(32 * len(more)))
    return destination
