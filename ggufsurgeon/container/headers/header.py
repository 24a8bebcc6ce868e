"""The header of a GGUF file as a value: every pair and tensor info, none interpreted.

Key-value pairs keep the very bytes they came in, so that what nobody touches is written back
as it was; a value is decoded when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.container.headers.values import ByteOrder, Value, ValueType, decode_value

DEFAULT_ALIGNMENT = 32
"""`GGUF_DEFAULT_ALIGNMENT`, ggml/include/gguf.h."""


@dataclass(frozen=True)
class KeyValue:
    """One key-value pair, with the bytes that encode all of it."""

    key: str
    """Bytes that are not UTF-8 are kept as surrogate escapes."""
    value_type: ValueType
    raw: bytes
    value_at: int
    """Where in `raw` the value starts (after key and type)."""
    byte_order: ByteOrder

    @cached_property
    def value(self) -> Value:
        """The decoded value. Arrays are lists, nested as they are in the file."""
        return decode_value(self.value_type, self.raw, self.value_at, self.byte_order)


@dataclass(frozen=True, slots=True)  # a file can have hundreds of thousands
class TensorInfo:
    """One tensor info. `dims` is in ggml's order: the contiguous dimension first."""

    name: str
    dims: tuple[int, ...]
    type_id: int
    offset_in_data: int


@dataclass(frozen=True)
class Header:
    """All that precedes the padding before the data section."""

    version: int
    byte_order: ByteOrder
    pairs: tuple[KeyValue, ...]
    tensors: tuple[TensorInfo, ...]

    @cached_property
    def pair_of(self) -> Mapping[str, KeyValue]:
        """Pairs by key."""
        return {pair.key: pair for pair in self.pairs}

    def get(self, key: str) -> Value | None:
        """The value of `key`, or None when absent."""
        pair = self.pair_of.get(key)
        return None if pair is None else pair.value

    @property
    def alignment(self) -> int:
        """Bytes to which the data section and every tensor in it are aligned."""
        value = self.get("general.alignment")
        return value if isinstance(value, int) else DEFAULT_ALIGNMENT

    @cached_property
    def architecture(self) -> str | None:
        """`general.architecture`, or None when absent or not a string."""
        value = self.get("general.architecture")
        return value if isinstance(value, str) else None
