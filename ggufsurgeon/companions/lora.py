"""LoRA adapters: does one belong to a model?

An adapter has a pair of tensors for each weight that it changes, `blk.3.attn_q.weight.lora_a` and
`.lora_b`. llama.cpp checks names and the first two dimensions when it loads one
(llama_adapter_lora_init_impl, src/llama-adapter.cpp), so that the adapter of a model loads on any
other of the same shapes without a word.
"""

from __future__ import annotations

from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.companions.base_names import check_base_name
from ggufsurgeon.companions.kinds import BaseModel, Dims, padded
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.strengths import factor_of_weight

SUFFIXES = (".lora_a", ".lora_b")
IGNORED = "_norm.weight"
"""What llama.cpp passes over in an adapter."""
TOKEN_EMBEDDING = "token_embd.weight"


def check_lora(adapter: GgufFile, base: BaseModel, *, other_base: bool) -> None:
    """Raise RefusedError where the adapter was not made for `base`.

    `other_base` allows that its metadata name another base model. Raises MalformedFileError for an
    adapter that llama.cpp does not load.
    """
    header = adapter.header
    if header.get("adapter.type") != "lora":
        found = quoted(header.get("adapter.type"))
        raise RefusedError(f"{adapter.path} is an adapter of type {found}: expected lora")
    if header.architecture != base.architecture:
        raise RefusedError(
            f"{adapter.path} is an adapter for the architecture {quoted(header.architecture)}, and "
            f"{base.file.path} is of {quoted(base.architecture)}"
        )
    if not other_base:
        check_base_name(adapter, base.file)
    for name, (a, b) in lora_pairs(adapter).items():
        _check_tensor(adapter, base, name, a, b)


def check_lora_strengths(adapter: GgufFile, path: LayerPath) -> None:
    """Raise RefusedError where an adapter changes what a strength or a factor multiplies.

    llama.cpp has added what an adapter gives before it multiplies by the scale of the weight, and
    behind it (build_lora_mm, src/llama-graph.cpp; ggml-org/llama.cpp PR 23484 moves it).
    """
    steps: dict[int | None, set[BlockRef]] = {}
    for step in path.steps:
        steps.setdefault(step.block, set()).add(step)
    for name in lora_pairs(adapter):
        block = block_of(name)
        if any(factor_of_weight(name, step) != FULL for step in steps.get(block, ())):
            raise RefusedError(
                f"{adapter.path} changes {quoted(name)}, and block {block} has a strength or a "
                "factor on this layer path: it depends on the build of llama.cpp whether that "
                "multiplies what an adapter adds"
            )


def lora_pairs(adapter: GgufFile) -> dict[str, tuple[Dims, Dims]]:
    """Dimensions of the two tensors for each weight. Raises MalformedFileError for others."""
    found: dict[str, list[Dims | None]] = {}
    for tensor in adapter.header.tensors:
        suffix = next((end for end in SUFFIXES if tensor.name.endswith(end)), None)
        if suffix is not None:
            pair = found.setdefault(tensor.name.removesuffix(suffix), [None, None])
            pair[SUFFIXES.index(suffix)] = padded(tensor.dims)
        elif not tensor.name.endswith(IGNORED):
            raise MalformedFileError(
                str(adapter.path),
                f"the tensor {quoted(tensor.name)} is neither .lora_a nor .lora_b of a weight",
            )
    whole = {name: (a, b) for name, (a, b) in found.items() if a is not None and b is not None}
    for name in found:
        if name not in whole:
            raise MalformedFileError(
                str(adapter.path), f"of the weight {quoted(name)} there is only .lora_a or .lora_b"
            )
    return whole


def _check_tensor(adapter: GgufFile, base: BaseModel, name: str, a: Dims, b: Dims) -> None:
    weight = base.dims_of.get(name)
    if weight is None:
        raise RefusedError(
            f"{adapter.path} changes the weight {quoted(name)}, which {base.file.path} does not "
            "have: it was made for another model"
        )
    if name in find_architecture(base.architecture).sliced_dims:
        raise RefusedError(
            f"{adapter.path} changes {quoted(name)}, which holds a slice for each block: a "
            "product of two matrices is not re-indexed slice by slice"
        )
    # The embedding is looked up by rows: its two factors change places (src/llama-adapter.cpp).
    fits = (
        (a[1], b[1]) == (weight[1], weight[0])
        if name == TOKEN_EMBEDDING
        else (a[0], b[1], a[2:], b[2:]) == (weight[0], weight[1], weight[2:], weight[2:])
        and a[1] == b[0]
    )
    if not fits:
        shapes = " and ".join("x".join(map(str, dims[:3])) for dims in (a, b))
        raise RefusedError(
            f"{adapter.path} changes {quoted(name)} by factors of {shapes}, and that weight of "
            f"{base.file.path} is {'x'.join(map(str, weight[:3]))}: it was made for another model"
        )
