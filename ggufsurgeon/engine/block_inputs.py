"""Where the residual stream enters each block, found in the graph instead of by name.

It is what a block's first weight is applied to; where that is a norm's, what was normalized.
"""

from __future__ import annotations

import re

from ggufsurgeon.engine.tensor import name_of, sources

_WEIGHT_OF_BLOCK = re.compile(rb"(?:enc\.)?blk\.(\d+)\.\S+")
_OUTPUT_NORM = re.compile(rb"(?:enc\.)?output_norm\.weight")
_NORM = re.compile(rb"norm(?:-\d+)?")
"""Nodes of `build_norm` before their weight (src/llama-graph.cpp:1615)."""
_COPY = re.compile(rb".+#(.+)#\d+", re.DOTALL)
"""A node as another device gets it (ggml/src/ggml-backend.cpp:1381)."""


class Entrances:
    """Names of the nodes that enter each block of a graph, noted while it is walked in order."""

    def __init__(self) -> None:
        self._of_block: dict[int, str] = {}
        self._of_output_norm = "result_embd_pooled"
        """Where there is no such norm, the last block's output is the result."""

    def note(self, node: int) -> None:
        """Look at the next node."""
        names = {_own_name(source): source for source in list(sources(node))[:2]}
        for name in names:
            match = _WEIGHT_OF_BLOCK.fullmatch(name)
            others = [source for other, source in names.items() if other != name]
            if match and others:
                self._of_block.setdefault(int(match[1]), _before_norm(others[0]))
            elif others and _OUTPUT_NORM.fullmatch(name):
                self._of_output_norm = _before_norm(others[0])

    def before(self, block: int) -> str:
        """The node that feeds `block`, or the output when there is no such block."""
        return self._of_block.get(block, self._of_output_norm)

    def __bool__(self) -> bool:
        return bool(self._of_block)


def _before_norm(node: int) -> str:
    node = _before_reshaping(node)
    if _NORM.fullmatch(_own_name(node)):
        node = _before_reshaping(next(sources(node)))
    return _own_name(node).decode()


def _before_reshaping(node: int) -> int:
    """The same values under a name of their own."""
    while name_of(node).endswith(b"(reshaped)"):
        node = next(sources(node))
    return node


def _own_name(node: int) -> bytes:
    name = name_of(node)
    copied = _COPY.fullmatch(name)
    return copied[1] if copied else name
