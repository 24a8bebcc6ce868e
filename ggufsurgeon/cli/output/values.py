"""Values of key-value pairs as people and programs read them."""

from __future__ import annotations

from typing import Any

from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix

LONGEST_ARRAY = 16
"""Largest number of elements of an array that is shown in full."""
LONGEST_STRING = 120
LONGEST_JSON_ARRAY = 1024


def value_text(pair: KeyValue) -> str:
    """A value on one line; the type and count of a long array, the beginning of a long string."""
    if pair.value_type == ValueType.ARRAY:
        kind, count = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
        if count > LONGEST_ARRAY or kind == ValueType.ARRAY:
            name = ValueType(kind).name.lower()
            return f"{count} x {name}"
    text = str(pair.value)
    return text if len(text) <= LONGEST_STRING else f"{text[:LONGEST_STRING]}... ({len(text)})"


def value_as_json(pair: KeyValue) -> Any:
    """The value itself; of a long or nested array, the type and count."""
    if pair.value_type == ValueType.ARRAY:
        kind, count = read_array_prefix(pair.raw, pair.value_at, pair.byte_order)
        if count > LONGEST_JSON_ARRAY or kind in (ValueType.ARRAY, ValueType.UINT8):
            return {"element_type": ValueType(kind).name.lower(), "n_elements": count}
    return pair.value
