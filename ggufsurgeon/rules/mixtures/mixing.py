"""Metadata of several models whose blocks are to be mixed: what must agree, and what need not.

Each key of the architecture has the same value in all models, or is judged block by block by a
rule, or is one of those below. All other keys are descriptive, or of the tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ggufsurgeon.architectures.model import Edit, Model, scalar_edit
from ggufsurgeon.architectures.table import UNREAD_ARRAYS, Architecture
from ggufsurgeon.architectures.vocabulary.positions import has_learned_positions
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import Value, ValueType
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.rules.tensor_names import PREFIX as TENSOR_LISTS

QUANTIZATION_VERSION = "general.quantization_version"
CONTEXT_LENGTH = "context_length"
OF_TOKENIZER = frozenset({"vocab_size"})
"""Keys of the architecture that follow the tokenizer: a number of tokens (src/llama-vocab.cpp)."""
OF_CONTEXT = frozenset({"laguna", "mistral3"})
"""Architectures whose graphs read the context length (src/models/laguna.cpp:191,
src/models/mistral3.cpp:15)."""

_Default: TypeAlias = "Callable[[Mapping[str, Value]], Value | None]"


def _head_size(values: Mapping[str, Value]) -> Value | None:
    width, n_heads = values.get("embedding_length"), values.get("attention.head_count")
    n_heads = n_heads[0] if isinstance(n_heads, list) and n_heads else n_heads
    if isinstance(width, int) and isinstance(n_heads, int) and n_heads:
        return width // n_heads
    return None


DEFAULTS: Mapping[str, _Default] = {
    "attention.key_length": _head_size,
    "attention.value_length": _head_size,
    "rope.dimension_count": lambda values: values.get("attention.key_length", _head_size(values)),
    "rope.freq_base": lambda _: 10_000.0,
}
"""What llama.cpp takes for keys that are absent (src/llama-model.cpp:1414-1441)."""


def check_agreement(files: Sequence[GgufFile], architecture: Architecture) -> None:
    """Raise RefusedError unless what the graph reads for the whole model is the same in all."""
    first = files[0]
    for file in files[1:]:
        _check_formats(first, file)
        for key, ours, theirs in _differences(first.header, file.header, architecture):
            raise RefusedError(
                f"{key} is {_shown(ours)} in {first.path} and {_shown(theirs)} in {file.path}: "
                "llama.cpp has one value of it for the whole model, so that their blocks cannot be "
                "mixed"
            )
        _check_context(first, file)


def _check_formats(first: GgufFile, file: GgufFile) -> None:
    for what, ours, theirs in (
        ("architecture", first.header.architecture, file.header.architecture),
        ("byte order", first.header.byte_order, file.header.byte_order),
    ):
        if ours != theirs:
            raise RefusedError(
                f"the {what} is {quoted(ours)} in {first.path} and {quoted(theirs)} in "
                f"{file.path}: their blocks cannot be mixed"
            )
    versions = [each.header.get(QUANTIZATION_VERSION) for each in (first, file)]
    if None not in versions and versions[0] != versions[1]:
        raise RefusedError(
            f"{QUANTIZATION_VERSION} is {quoted(versions[0])} in {first.path} and "
            f"{quoted(versions[1])} in "
            f"{file.path}: the same types mean other bytes"
        )
    for each in (first, file):
        if any(pair.key.startswith(TENSOR_LISTS) for pair in each.header.pairs):
            raise RefusedError(
                f"{each.path} lists its tensors by name ({TENSOR_LISTS}*): how such lists are "
                "joined for several models is not known to this version"
            )


def _differences(
    first: Header, other: Header, architecture: Architecture
) -> Iterator[tuple[str, Value | None, Value | None]]:
    """Keys of the architecture that must agree and do not, with both values."""
    prefix = f"{first.architecture}."
    free = {rule.key for rule in architecture.rules if rule.key} | UNREAD_ARRAYS | OF_TOKENIZER
    free.add(CONTEXT_LENGTH)
    ours, theirs = (_values(header, prefix) for header in (first, other))
    for key in dict.fromkeys((*ours, *theirs)):
        if key in free:
            continue
        found = [values.get(key, _default(key, values)) for values in (ours, theirs)]
        if repr(found[0]) != repr(found[1]):
            yield prefix + key, ours.get(key), theirs.get(key)


def _values(header: Header, prefix: str) -> dict[str, Value]:
    pairs = (pair for pair in header.pairs if pair.key.startswith(prefix))
    return {pair.key.removeprefix(prefix): pair.value for pair in pairs}


def _default(key: str, values: Mapping[str, Value]) -> Value | None:
    return DEFAULTS[key](values) if key in DEFAULTS else None


def _check_context(first: GgufFile, file: GgufFile) -> None:
    """Raise RefusedError where context lengths differ and the graph reads them."""
    key = f"{first.header.architecture}.{CONTEXT_LENGTH}"
    ours, theirs = first.header.get(key), file.header.get(key)
    if ours != theirs and (reads_context(first.header) or reads_context(file.header)):
        raise RefusedError(
            f"{key} is {_shown(ours)} in {first.path} and {_shown(theirs)} in {file.path}, and "
            "positions are computed from it: their blocks cannot be mixed"
        )


def reads_context(header: Header) -> bool:
    """Whether the context length has a part in what is computed, and is no mere limit.

    It is how many positions a table has, or the length from which on RoPE is scaled
    (src/llama-model.cpp:1410, 2345).
    """
    if has_learned_positions(header) or header.architecture in OF_CONTEXT:
        return True
    prefix = f"{header.architecture}.rope.scaling."
    if header.get(f"{prefix}original_context_length") is not None:
        return False
    is_scaled = header.get(f"{prefix}type") not in (None, "none", "linear")
    return is_scaled or any(tensor.name.startswith("rope_factors_") for tensor in header.tensors)


def context_edits(models: Sequence[Model]) -> Iterator[Edit]:
    """The smallest context length of the models, where they differ."""
    lengths = [model.number(CONTEXT_LENGTH) for model in models]
    if len(set(lengths)) > 1:
        note = (
            f"has the smallest context length of its sources, {min(lengths)} of "
            f"{', '.join(map(str, sorted(set(lengths))))} tokens: blocks of one of them were not "
            "trained beyond it; it limits contexts, and has no part in what is computed"
        )
        pair = models[0].pair(CONTEXT_LENGTH)
        if min(lengths) != lengths[0]:
            pair = scalar_edit(models[0], CONTEXT_LENGTH, ValueType.UINT32, min(lengths)).pair
        if pair is not None:
            yield Edit(pair, note)


def _shown(value: Value | None) -> str:
    return "absent" if value is None else quoted(value)
