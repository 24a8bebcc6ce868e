"""YAML as a tree of texts: no types are made of them, no tags are followed, and sizes are limited.

Anchors and aliases are allowed, since published recipes use them for constants, and so is the merge
key `<<` (yaml.org/type/merge.html). What an alias stands for counts each time, so that a few lines
cannot stand for a huge tree.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError

MAX_N_BYTES = 1 << 16
MAX_NODES = 20_000
"""Texts, sequences and tables, those behind aliases counted each time."""
MAX_DEPTH = 24


@dataclass(frozen=True)
class Text:
    """A scalar, as it is written."""

    line: int
    anchor: str | None
    text: str
    is_plain: bool
    """Whether it is written without quotation marks."""
    n_nodes: int = 1
    height: int = 1


@dataclass(frozen=True)
class Items:
    """A sequence."""

    line: int
    anchor: str | None
    nodes: tuple[Node, ...]
    n_nodes: int
    height: int


class Entry(NamedTuple):
    """A key with its value; `line` is that of the key, from 1."""

    key: str
    line: int
    node: Node


@dataclass(frozen=True)
class Table:
    """A mapping. A key can be there several times."""

    line: int
    anchor: str | None
    entries: tuple[Entry, ...]
    n_nodes: int
    height: int


Node: TypeAlias = Text | Items | Table


class Document(NamedTuple):
    """The only document of a YAML text, and the anchors that aliases refer to."""

    root: Node
    used_anchors: frozenset[str]


def read_document(data: bytes, name: str) -> Document:
    """The document in the bytes of a file; `name` begins the messages of errors.

    Raises UsageError for what is not one document of YAML in UTF-8, for tags, and beyond the
    limits.
    """
    if len(data) > MAX_N_BYTES:
        raise UsageError(f"{name}: a file of more than {MAX_N_BYTES:,} bytes is no recipe")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{name}, line {data[: error.start].count(10) + 1}"
        raise UsageError(f"{where}: byte 0x{data[error.start]:02x} is not UTF-8") from None
    return _TreeBuilder(name, text).document()


class _TreeBuilder:
    """Makes a tree of the events of PyYAML's parser, which reads no further than it is asked."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._events = self._parsed(text)
        self._anchors: dict[str, Node] = {}
        self._used: set[str] = set()
        self._n_nodes = 0

    def _parsed(self, text: str) -> Iterator[Any]:
        import yaml

        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = quoted(error.problem or "it cannot be read")
            raise self._error(line, f"this is not YAML: {problem}") from None
        except yaml.YAMLError as error:  # a character that YAML does not allow
            line = text[: getattr(error, "position", 0)].count("\n") + 1
            raise self._error(line, "YAML allows no such control character") from None

    def _error(self, line: int, problem: str, hint: str = "") -> UsageError:
        return UsageError(f"{self._name}, line {line}: {problem}", hint=hint)

    def document(self) -> Document:
        import yaml

        next(self._events)  # StreamStart
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise UsageError(f"{self._name}: there is no recipe in it")
        root = self._node(next(self._events), 1)
        next(self._events)  # DocumentEnd
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            line = following.start_mark.line + 1
            raise self._error(line, "a second document; a recipe is one")
        return Document(root, frozenset(self._used))

    def _node(self, event: Any, depth: int) -> Node:
        import yaml

        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line, depth)
        if event.tag is not None:
            raise self._error(line, f"the tag {quoted(event.tag)}: recipes have no tags")
        self._count(1, depth, line)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Text(line, event.anchor, event.value, event.style is None)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = _items(line, event.anchor, tuple(self._sequence(depth)))
        else:
            node = _table(line, event.anchor, self._entries(depth))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _count(self, n_nodes: int, depth: int, line: int) -> None:
        self._n_nodes += n_nodes
        if self._n_nodes > MAX_NODES:
            problem = f"more than {MAX_NODES:,} values, counting those of aliases each time"
            raise self._error(line, f"{problem}: this is too long for a recipe")
        if depth > MAX_DEPTH:
            raise self._error(
                line, f"values are nested more than {MAX_DEPTH} deep: this is too deep for a recipe"
            )

    def _alias(self, anchor: str, line: int, depth: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            problem = f"the alias *{quoted(anchor)[1:-1]} stands for no value before it"
            raise self._error(line, problem)
        self._used.add(anchor)
        self._count(node.n_nodes, depth + node.height - 1, line)
        return node

    def _sequence(self, depth: int) -> Iterator[Node]:
        import yaml

        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> tuple[Entry, ...]:
        import yaml

        own: list[Entry] = []
        merged: list[Entry] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._node(event, depth + 1)
            if not isinstance(key, Text):
                raise self._error(line, "a key that is no text")
            value = self._node(next(self._events), depth + 1)
            if key.text == "<<" and key.is_plain:
                merged += self._merged(value, line)
            else:
                own.append(Entry(key.text, line, value))
        keys = {entry.key for entry in own}
        for entry in merged:
            if entry.key not in keys:
                keys.add(entry.key)
                own.append(entry)
        return tuple(own)

    def _merged(self, value: Node, line: int) -> Iterator[Entry]:
        for table in value.nodes if isinstance(value, Items) else (value,):
            if not isinstance(table, Table):
                raise self._error(line, "<< takes the keys of a table, and this is none")
            yield from table.entries


def _items(line: int, anchor: str | None, nodes: tuple[Node, ...]) -> Items:
    n_nodes = 1 + sum(node.n_nodes for node in nodes)
    return Items(line, anchor, nodes, n_nodes, 1 + max((n.height for n in nodes), default=0))


def _table(line: int, anchor: str | None, entries: tuple[Entry, ...]) -> Table:
    nodes = [entry.node for entry in entries]
    n_nodes = 1 + len(nodes) + sum(node.n_nodes for node in nodes)
    return Table(line, anchor, entries, n_nodes, 1 + max((n.height for n in nodes), default=0))
