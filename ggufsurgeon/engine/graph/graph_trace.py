"""The nodes of a graph in the order of their computation, and which of them a pass can leave out.

A pass that overwrites the input of a block needs nothing of what made that input. It needs what
the nodes after it are computed from, by `src`, and what writes into a tensor that these read, such
as a KV cache: such a writer has that tensor as its `view_src`, and is a source of no reader.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ggufsurgeon.engine.graph.tensor import Tensor, sources
from ggufsurgeon.engine.installation.library import ggml

COPY = re.compile(rb".+#(.+)#\d+", re.DOTALL)
"""The name of a node's copy on another device (ggml/src/ggml-backend.cpp:1381)."""
WITHOUT_EFFECT = frozenset({b"NONE", b"VIEW", b"RESHAPE", b"PERMUTE", b"TRANSPOSE"})
"""Operations that compute nothing: such a node shows the memory of another."""


class Node(NamedTuple):
    """A node of a graph, as far as it matters here."""

    address: int
    name: bytes
    sources: tuple[int, ...]
    read: frozenset[int]
    """The tensors whose memory it reads."""
    written: int
    """The tensor whose memory it writes to, if that is not its own; 0 for its own."""


class GraphTrace:
    """The nodes of a graph whose memory is still that of the last decode."""

    def __init__(self, addresses: Sequence[int]) -> None:
        self.addresses = list(addresses)
        self.nodes = [_node_at(address) for address in addresses]

    def not_needed(
        self, overwritten: Collection[bytes], read: Collection[bytes]
    ) -> dict[int, Node]:
        """The nodes, by their place, that need no computation; empty where that is not clear.

        The nodes named `overwritten` get other values, all of them; those named `read` are read.
        """
        places = [n for n, node in enumerate(self.nodes) if node.name in overwritten]
        if len(places) != len(overwritten):  # a name that several nodes have, or none
            return {}
        after = range(max(places) + 1, len(self.nodes))
        needed = _Needed()
        left_out = {
            place: node
            for place, node in enumerate(self.nodes)
            if place not in after and (node.name not in read or node.name in overwritten)
        }
        for place, node in enumerate(self.nodes):
            if place not in left_out:
                needed.add(node)
        # Until none is found: a state is written after it is read, for the next decode.
        while _take_needed(left_out, overwritten, needed):
            pass
        return left_out


def _take_needed(
    left_out: dict[int, Node], overwritten: Collection[bytes], needed: _Needed
) -> bool:
    """Take out the nodes that are needed, the last first. Returns whether there were any."""
    n_before = len(left_out)
    for place, node in sorted(left_out.items(), reverse=True):
        if node.name not in overwritten and needed.has(node):
            needed.add(left_out.pop(place))
    return len(left_out) < n_before


class _Needed:
    """What the nodes that are computed need: nodes, names of copied nodes, and memory."""

    def __init__(self) -> None:
        self._nodes: set[int] = set()
        self._copied: set[bytes] = set()
        self._memory: set[int] = set()

    def has(self, node: Node) -> bool:
        return (
            node.address in self._nodes
            or node.name in self._copied
            or (node.written != 0 and node.written in self._memory)
        )

    def add(self, node: Node) -> None:
        self._nodes.update(node.sources)
        self._memory |= node.read
        for source in node.sources:
            copied = COPY.fullmatch(Tensor.from_address(source).name)
            if copied:
                self._copied.add(copied[1])


def _node_at(address: int) -> Node:
    tensor = Tensor.from_address(address)
    of = tuple(sources(address))
    read = frozenset(Tensor.from_address(source).view_src or source for source in of)
    has_effect = _op_name(tensor.op) not in WITHOUT_EFFECT
    written = tensor.view_src if has_effect and tensor.view_src else 0
    return Node(address, tensor.name, of, read, written)


def _op_name(op: int) -> bytes:
    function = ggml().ggml_op_name
    function.restype = ctypes.c_char_p
    return bytes(function(ctypes.c_int(op)))
