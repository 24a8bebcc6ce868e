"""The nodes that feed each block, found in the graph instead of by name.

A block's input is the node that its first weight is applied to, or, where that weight is a norm's,
the node that is normalized.
"""

from __future__ import annotations

import re

from ggufsurgeon.engine.graph.graph_trace import COPY
from ggufsurgeon.engine.graph.tensor import name_of, sources

_WEIGHT_OF_BLOCK = re.compile(rb"(?:enc\.)?blk\.(\d+)\.\S+")
_OUTPUT_NORM = re.compile(rb"(?:enc\.)?output_norm\.weight")
_NORM = re.compile(rb"norm(?:-\d+)?")
"""Names of normalized nodes before their weight (`build_norm`, src/llama-graph.cpp:1615)."""


class BlockInputs:
    """Names of the nodes that feed each block of a graph. `note` takes its nodes in their order."""

    def __init__(self) -> None:
        self._of_block: dict[int, str] = {}
        self._of_output_norm = "result_embd_pooled"
        """Without an output norm, the last block's output is the result."""

    def note(self, node: int) -> None:
        """Take in the next node, by its address."""
        names = {_own_name(source): source for source in list(sources(node))[:2]}
        for name in names:
            match = _WEIGHT_OF_BLOCK.fullmatch(name)
            others = [source for other, source in names.items() if other != name]
            if match and others:
                self._of_block.setdefault(int(match[1]), _before_norm(others[0]))
            elif others and _OUTPUT_NORM.fullmatch(name):
                self._of_output_norm = _before_norm(others[0])

    def before(self, block: int) -> str:
        """The name of the node that feeds `block`, or, behind the last block, the output norm."""
        return self._of_block.get(block, self._of_output_norm)

    def __bool__(self) -> bool:
        return bool(self._of_block)


def _before_norm(node: int) -> str:
    node = _before_reshaping(node)
    if _NORM.fullmatch(_own_name(node)):
        node = _before_reshaping(next(sources(node)))
    return _own_name(node).decode()


def _before_reshaping(node: int) -> int:
    """The node whose values a chain of reshapes shows."""
    while name_of(node).endswith(b"(reshaped)"):
        node = next(sources(node))
    return node


def _own_name(node: int) -> bytes:
    name = name_of(node)
    copied = COPY.fullmatch(name)
    return copied[1] if copied else name
