"""A mutator that knows the fields of GGUF: random mutations rarely get past the first checks."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

from tests.fuzzing.fields import Field, Fields, Item
from tests.fuzzing.mending import laid_out, patched, signed, unfilled
from tests.models.builders import ARRAY, FORMATS, STRING, pair, string

NUMBERS = (0, 1, 2, 3, 7, 8, 13, 31, 32, 33, 255, 256, 512, 513, 65535, 1 << 20)
EDGES = (7, 8, 15, 16, 31, 32, 53, 62, 63, 64)
TEXTS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\x1b[2J\r\n",
    b"a" * 70,
    b"0..2,1..4",
    b"99999999999999999999",
    "\u0663\u202e".encode(),
    b"blk.0.ffn.weight",
    b"blk.4294967296.x",
    b"general.alignment",
    b"layer_path.blocks",
)
LARGEST = 1 << 14
"""Bytes of a mutated file."""


class Mutator:
    """Changes files at random; `donors` are files whose pairs and tensors are put into others."""

    def __init__(self, donors: Sequence[bytes]) -> None:
        self._donors = tuple(map(Fields, donors))

    def __call__(self, data: bytes, seed: int, largest: int = LARGEST) -> bytes:
        """A changed file, the same one for the same seed."""
        rng = random.Random(seed)
        if not data.startswith(b"GGUF") or len(data) < 24:
            data = rng.choice(self._donors).data
        for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
            data = rng.choice(CHANGES)(rng, Fields(data), self._donors)
        chance = rng.random()
        if chance < 0.5:
            data = laid_out(data)
        if chance < 0.02:
            data = unfilled(patched(data, _few_blocks(rng)))
        if chance < 0.25:
            data = signed(data)
        return data[:largest]


def _few_blocks(rng: random.Random) -> list[int]:
    blocks = list(range(rng.randrange(1, 9)))
    first = rng.randrange(len(blocks))
    return blocks[: first + rng.randrange(1, 4)] + blocks[first:]


def _number(rng: random.Random, fields: Fields, field: Field) -> int:
    """A number that is near another, or at the edge of a type."""
    largest = 1 << 8 * (field.end - field.start)
    near = fields.value(rng.choice(fields.numbers))
    found = rng.choice(
        (
            rng.choice(NUMBERS),
            fields.value(field) + rng.choice((-1, 1)),
            near,
            (1 << rng.choice(EDGES)) - rng.randrange(3),
            rng.randrange(largest),
        )
    )
    return found % largest


def set_number(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """Another number in one field: a length, count, type, dimension, offset or value."""
    if not fields.numbers:
        return fields.data
    field = rng.choice(fields.numbers)
    raw = fields.raw(_number(rng, fields, field), field)
    return fields.data[: field.start] + raw + fields.data[field.end :]


def set_text(rng: random.Random, fields: Fields, donors: Sequence[Fields]) -> bytes:
    """Another key, name or string, with its length."""
    if not fields.texts:
        return fields.data
    text = rng.choice(fields.texts)
    old = fields.text(text)
    donor = rng.choice(donors)
    new = rng.choice(
        (
            rng.choice(TEXTS),
            fields.text(rng.choice(fields.texts)),
            donor.text(rng.choice(donor.texts)) if donor.texts else b"",
            old.replace(b"0", rng.choice((b"1", b"2", b"00", b"-1"))),
            old[: rng.randrange(len(old) + 1)],
            old + rng.choice(TEXTS),
        )
    )
    start = fields.data[: text.length.start]
    return start + string(new, fields.order) + fields.data[text.content.end :]


def change_items(rng: random.Random, fields: Fields, donors: Sequence[Fields]) -> bytes:
    """A pair or a tensor info dropped, doubled, moved, or taken from another file."""
    are_pairs = rng.random() < 0.6
    items = _raw(fields, fields.pairs if are_pairs else fields.tensors)
    way = rng.randrange(4)
    if way == 3 or not items:
        donor = rng.choice(donors)
        others = _raw(donor, donor.pairs if are_pairs else donor.tensors)
        if others:
            items.insert(rng.randrange(len(items) + 1), rng.choice(others))
    else:
        taken = items.pop(rng.randrange(len(items)))
        for _ in range(way):
            items.insert(rng.randrange(len(items) + 1), taken)
    if not fields.is_whole:
        return fields.data
    pairs = items if are_pairs else _raw(fields, fields.pairs)
    tensors = _raw(fields, fields.tensors) if are_pairs else items
    counts = struct.pack(f"{fields.order}QQ", len(tensors), len(pairs))
    return b"".join((fields.data[:8], counts, *pairs, *tensors, fields.data[fields.at :]))


def _raw(fields: Fields, items: Sequence[Item]) -> list[bytes]:
    return [fields.data[item.start : item.end] for item in items]


def set_value(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """A value of another type under the key of a pair."""
    if not fields.pairs:
        return fields.data
    item = rng.choice(fields.pairs)
    key = next(text for text in fields.texts if text.length.start == item.start)
    kind = rng.choice((*FORMATS, STRING, ARRAY))
    new = pair(fields.text(key), kind, _content(rng, kind), fields.order)
    return fields.data[: item.start] + new + fields.data[item.end :]


def _content(rng: random.Random, kind: int) -> object:
    if kind == STRING:
        return rng.choice(TEXTS)
    if kind == ARRAY:
        element = rng.choice((*FORMATS, STRING))
        return element, [_content(rng, element) for _ in range(rng.choice((0, 1, 3, 4, 5, 8)))]
    return rng.choice((0, 1, 2, 3, 8, 127))


def resize_array(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """More or fewer elements of an array of numbers, with its length."""
    if not fields.arrays:
        return fields.data
    kind, length, content = rng.choice(fields.arrays)
    n_elements = fields.value(length)
    width = (content.end - content.start) // n_elements if n_elements else 4
    old = fields.data[content.start : content.end] or bytes(width)
    n_new = rng.choice((0, 1, n_elements - 1, n_elements + 1, n_elements * 2))
    n_new = max(n_new, 0)
    new = (old * (n_new * width // len(old) + 1))[: n_new * width]
    start = fields.data[: kind.end] + fields.raw(n_new, length)
    return start + new + fields.data[content.end :]


def set_elements(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """Other elements in an array of numbers."""
    if not fields.arrays:
        return fields.data
    content = rng.choice(fields.arrays).content
    new = bytearray(fields.data)
    for at in range(content.start, content.end):
        if rng.random() < 0.2:
            new[at] = rng.choice((0, 1, 2, 255, rng.randrange(256)))
    return bytes(new)


def flip(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """Other bytes, wherever."""
    new = bytearray(fields.data)
    for _n in range(rng.choice((1, 1, 2, 8))):
        new[rng.randrange(len(new))] = rng.randrange(256)
    return bytes(new)


def cut(rng: random.Random, fields: Fields, _: Sequence[Fields]) -> bytes:
    """A file that ends early, or goes on."""
    end = rng.choice((rng.randrange(24, len(fields.data) + 1), len(fields.data)))
    return fields.data[:end] + rng.choice((b"", b"", b"tail", bytes(64)))


Change = Callable[[random.Random, Fields, Sequence[Fields]], bytes]
CHANGES: tuple[Change, ...] = (
    set_number,
    set_number,
    set_text,
    set_text,
    change_items,
    change_items,
    set_value,
    resize_array,
    set_elements,
    flip,
    cut,
)
