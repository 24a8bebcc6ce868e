"""Speculative drafts that read states of their target: does one belong to a model, and where are
these states along a layer path?

eagle3 and dflash read the residual stream of the target at the layers in `target_layers`: number N
is what enters block N, the state behind block N - 1, and the number of blocks is the state behind
the last one (llama_set_embeddings_layer_inp, src/llama-ext.h; common/speculative.cpp:541-549 and
1057-1059). gemma4-assistant names no block: it attends to the KV caches of the last two blocks of
its target (src/llama-model.cpp:2811-2821).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ggufsurgeon.companions.base_names import check_base_name
from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    ValueType,
    encode_array_prefix,
    encode_value,
    read_array_prefix,
)
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.rules.mixtures.same_tokens import check_same_tokens

WIDTH_KEYS = {
    "eagle3": "target_hidden_size",
    "dflash": "embedding_length",
    "gemma4-assistant": "embedding_length_out",
}
"""For each architecture of drafts, the key with the width of the target's residual stream."""
ON_KV = "gemma4-assistant"
TARGET_OF_ON_KV = "gemma4"
N_EAGLE3_LAYERS = 3
NOTE = (
    "it was trained on the states of the original: the patched model may accept fewer of its "
    "tokens, which costs time and changes no output"
)


def target_layers(header: Header) -> list[int] | None:
    """The numbers of the layers whose inputs a draft reads; None where it names none."""
    value = header.get(f"{header.architecture}.target_layers")
    are_numbers = isinstance(value, list) and all(type(number) is int for number in value)
    return [int(number) for number in value] if are_numbers else None  # type: ignore[union-attr,arg-type]


def check_draft(draft: GgufFile, base: BaseModel, *, other_base: bool) -> None:
    """Raise RefusedError where the draft was not made for `base`.

    `other_base` allows that its metadata name another base model. Raises MalformedFileError for a
    draft that llama.cpp does not load.
    """
    if not other_base:
        check_base_name(draft, base.file)
    _check_width(draft, base)
    check_same_tokens(draft, base.file)
    if draft.header.architecture == ON_KV:
        if base.architecture != TARGET_OF_ON_KV:
            raise RefusedError(
                f"{draft.path} is a draft for models of {quoted(TARGET_OF_ON_KV)}, and "
                f"{base.file.path} is of {quoted(base.architecture)}"
            )
        return
    for number in _layers_of(draft):
        if number > base.blocks.n_trunk:
            raise RefusedError(
                f"{draft.path} reads the input of block {number}, and {base.file.path} has "
                f"{base.blocks.n_trunk} blocks: it was made for another model"
            )


def _check_width(draft: GgufFile, base: BaseModel) -> None:
    architecture = draft.header.architecture or ""
    found = draft.header.get(f"{architecture}.{WIDTH_KEYS[architecture]}")
    width = base.file.header.get(f"{base.architecture}.embedding_length")
    if found != width:
        raise RefusedError(
            f"{draft.path} reads states of {quoted(found)} numbers, and the residual stream of "
            f"{base.file.path} has {quoted(width)}: it was made for another model"
        )


def _layers_of(draft: GgufFile) -> list[int]:
    """`target_layers`. Raises MalformedFileError where llama.cpp does not take them."""
    numbers = target_layers(draft.header)
    is_eagle3 = draft.header.architecture == "eagle3"
    if not numbers or min(numbers) < 0 or (is_eagle3 and len(numbers) != N_EAGLE3_LAYERS):
        expected = f"{N_EAGLE3_LAYERS} numbers" if is_eagle3 else "numbers"
        raise MalformedFileError(
            str(draft.path),
            f"{draft.header.architecture}.target_layers is not an array of {expected} of layers",
        )
    return numbers


def follow_target(draft: GgufFile, target: Target, n_trunk: int) -> Iterator[KeyValue]:
    """The pair with the layers to read on `target`, which has blocks of a model of `n_trunk`.

    Of a block that runs several times the last run counts: what it leaves is what the later blocks
    read. Raises RefusedError where a state is not there, or would be read in another way, or where
    the vocabulary is that of another model.
    """
    path = target.trunk
    if target.models is not None and target.file is not None:
        check_same_tokens(draft, target.file)
    if 0 in (target_layers(draft.header) or ()) and not target.has_embeddings:
        raise RefusedError(
            f"{draft.path} reads the embeddings, which come from another model on this path"
        )
    if draft.header.architecture == ON_KV:
        _check_last_two(draft, path, n_trunk)
        return
    numbers = [_follow(draft, path, n_trunk, number) for number in _layers_of(draft)]
    pair = draft.header.pair_of[f"{draft.header.architecture}.target_layers"]
    kind = ValueType(read_array_prefix(pair.raw, pair.value_at, pair.byte_order)[0])
    elements = b"".join(encode_value(kind, number, pair.byte_order) for number in numbers)
    prefix = encode_array_prefix(kind, len(numbers), pair.byte_order)
    yield make_pair(pair.key, ValueType.ARRAY, prefix + elements, pair.byte_order)


def _follow(draft: GgufFile, path: Sequence[int | None], n_trunk: int, number: int) -> int:
    """The number of the layer that reads, along the path, what layer `number` reads."""
    if number == 0:
        return 0
    block = number - 1
    if block not in path:
        raise RefusedError(
            f"{draft.path} reads the output of block {block}, which the layer path leaves out"
        )
    found = len(path) - list(reversed(path)).index(block)
    # The state behind the last block is another node of llama.cpp's graph.
    if (number == n_trunk) != (found == len(path)):
        before, after = (
            "the last one" if n == end else "followed by others"
            for n, end in ((number, n_trunk), (found, len(path)))
        )
        raise RefusedError(
            f"{draft.path} reads the output of block {block}, which is {before} in the original "
            f"and {after} on the layer path: llama.cpp reads the two from different nodes"
        )
    return found


def _check_last_two(draft: GgufFile, path: Sequence[int | None], n_trunk: int) -> None:
    last = [n_trunk - 2, n_trunk - 1]
    if list(path[-2:]) != last:
        raise RefusedError(
            f"{draft.path} attends to the KV caches of the last two blocks of its target, "
            f"{last[0]} and {last[1]}, and the layer path ends with others",
            hint="Paths that end with these two blocks work.",
        )


def states_read(header: Header) -> list[int]:
    """The blocks of the target behind which a draft reads the state."""
    return sorted({number - 1 for number in target_layers(header) or () if number > 0})
