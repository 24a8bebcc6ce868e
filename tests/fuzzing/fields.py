"""The positions of the fields of a header, as far as it can be parsed if it is broken.

Shares no code with the program.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tests.models.builders import ARRAY, FORMATS, STRING

WIDTHS = {kind: {"b": 1, "B": 1, "h": 2, "H": 2, "f": 4, "i": 4, "I": 4}.get(fmt, 8)
          for kind, fmt in FORMATS.items()}  # fmt: skip


class Field(NamedTuple):
    """A number, or the bytes of a string or of the elements of an array."""

    kind: str
    start: int
    end: int


class Text(NamedTuple):
    """A string with its length."""

    length: Field
    content: Field


class Array(NamedTuple):
    """An array of numbers."""

    kind: Field
    length: Field
    content: Field


class Item(NamedTuple):
    """A key-value pair, or a tensor info; `number` is its first one among all numbers."""

    number: int
    start: int
    end: int


class Cut(Exception):
    """The data end, or make no sense, where a field is expected."""


class Fields:
    """The fields of a header, in the order in which they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = ">" if data[4:6] == b"\0\0" else "<"
        self._endian: Literal["little", "big"] = "little" if self.order == "<" else "big"
        self.numbers: list[Field] = []
        self.texts: list[Text] = []
        self.arrays: list[Array] = []
        self.pairs: list[Item] = []
        self.tensors: list[Item] = []
        self.at = 4
        self.is_whole = False
        try:
            self._walk()
        except Cut:
            return
        self.is_whole = True

    def value(self, field: Field) -> int:
        """The number in a field."""
        return int.from_bytes(self.data[field.start : field.end], self._endian)

    def raw(self, n: int, field: Field) -> bytes:
        """The bytes of a number in a field."""
        return n.to_bytes(field.end - field.start, self._endian)

    def text(self, text: Text) -> bytes:
        """The bytes of a string."""
        return self.data[text.content.start : text.content.end]

    def _walk(self) -> None:
        self._number("version", 4)
        n_tensors, n_pairs = self._number("n_tensors", 8), self._number("n_pairs", 8)
        for _ in range(n_pairs):
            number, start = len(self.numbers), self.at
            self._text("key")
            self._value(self._number("type", 4), 0)
            self.pairs.append(Item(number, start, self.at))
        for _ in range(n_tensors):
            number, start = len(self.numbers), self.at
            self._text("name")
            for _ in range(self._number("n_dims", 4)):
                self._number("dim", 8)
            self._number("tensor_type", 4)
            self._number("offset", 8)
            self.tensors.append(Item(number, start, self.at))

    def _number(self, kind: str, n_bytes: int) -> int:
        start = self.at
        end = self.at = start + n_bytes
        if end > len(self.data):
            raise Cut
        self.numbers.append(Field(kind, start, end))
        return int.from_bytes(self.data[start:end], self._endian)

    def _bytes(self, kind: str, n_bytes: int) -> Field:
        start = self.at
        self.at = start + n_bytes
        if self.at > len(self.data):
            raise Cut
        return Field(kind, start, self.at)

    def _text(self, kind: str) -> None:
        n_bytes = self._number("length", 8)
        self.texts.append(Text(self.numbers[-1], self._bytes(kind, n_bytes)))

    def _value(self, kind: int, depth: int) -> None:
        if kind == STRING:
            self._text("string")
        elif kind == ARRAY and depth < 8:
            self._array(depth)
        elif kind in WIDTHS:
            self._number("scalar", WIDTHS[kind])
        else:
            raise Cut

    def _array(self, depth: int) -> None:
        element = self._number("element_type", 4)
        n_elements = self._number("n_elements", 8)
        kind, length = self.numbers[-2:]
        if element in WIDTHS:
            content = self._bytes("elements", n_elements * WIDTHS[element])
            self.arrays.append(Array(kind, length, content))
            return
        for _ in range(n_elements):
            self._value(element, depth + 1)
