"""Where the residual stream enters a block, found in the graph instead of by name.

It is what a block's first weight is applied to; where that is a norm's, what was normalized.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

SRC_OFFSET = 152
"""Of `src` in `struct ggml_tensor` (ggml/include/ggml.h)."""

WEIGHT_OF_BLOCK = re.compile(r"(?:enc\.)?blk\.(\d+)\..+")
OUTPUT_NORM = re.compile(r"(?:enc\.)?output_norm\.weight")
NORM = re.compile(r"norm(?:-\d+)?")
"""Nodes of `build_norm` before their weight (src/llama-graph.cpp:1615)."""


def sources(tensor: int) -> Iterator[int]:
    """The first two of a node, those that there are."""
    for at in (tensor + SRC_OFFSET, tensor + SRC_OFFSET + 8):
        source = ctypes.c_void_p.from_address(at).value
        if source:
            yield source


class Entrances:
    """Names of the nodes that enter each block of a graph, noted while it is walked in order."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self.of_block: dict[int, str] = {}
        self.of_output_norm = "result_embd_pooled"
        """Where there is no such norm, the last block's output is the result."""

    def note(self, node: int) -> None:
        """Look at the next node."""
        names = {self._name(source): source for source in sources(node)}
        for name in names:
            match = WEIGHT_OF_BLOCK.fullmatch(name)
            others = [source for other, source in names.items() if other != name]
            if match and others and int(match[1]) not in self.of_block:
                self.of_block[int(match[1])] = self._before_norm(others[0])
            elif OUTPUT_NORM.fullmatch(name):
                self.of_output_norm = self._before_norm(others[0])

    def after(self, block: int) -> str:
        """The node that holds the output of `block`."""
        return self.of_block.get(block + 1, self.of_output_norm)

    def _before_norm(self, node: int) -> str:
        name = self._name(node)
        return self._name(next(sources(node))) if NORM.fullmatch(name) else name

    def _name(self, tensor: int) -> str:
        return str(self._lib.ggml_get_name(tensor).decode())
