"""Reading and overwriting nodes of the graph while llama.cpp computes it.

llama.cpp calls back before each node, to ask whether it is wanted, and after each such (`cb_eval`,
include/llama.h:392; ggml/src/ggml-backend.cpp:1822-1851). Nodes are called `<what>-<block>`
(src/llama-context.cpp:2636). A decode must be one micro-batch; else each node comes several times.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.graph import tensor
from ggufsurgeon.engine.graph.block_inputs import BlockInputs
from ggufsurgeon.engine.graph.graph_trace import Node
from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.errors import EngineError, RefusedError

Activation: TypeAlias = npt.NDArray[np.float32]
"""Shape [n_tokens, ...]: tokens first, whichever axis they are in llama.cpp."""


WHOLE = slice(None)
"""Tokens of a Rows that replaces a whole node, whose first axis may not be tokens."""


class Rows(NamedTuple):
    """New values for some tokens of a batch."""

    tokens: slice
    values: Activation
    """Shape [n_tokens of the slice, ...]."""


Overwrites: TypeAlias = Mapping[str, Sequence[Rows]]
"""New values by the name of the node that they overwrite."""


class Taps:
    """The `cb_eval` callback of a context. Call `prepare` before a decode and `take` after it.

    `token_dim` is the dimension, in llama.cpp's order, that holds the tokens in each node.
    `block_inputs`, if given, notes the nodes of each graph.
    """

    def __init__(self, token_dim: int = 1, block_inputs: BlockInputs | None = None) -> None:
        self.callback = llama_cpp().ggml_backend_sched_eval_callback(self._called)
        self.found: dict[str, Activation] = {}
        """Activations that the last decode read, by node."""
        self._block_inputs = block_inputs
        self._axis = 3 - token_dim
        self._read: frozenset[bytes] = frozenset()
        self._overwrites: dict[bytes, Sequence[Rows]] = {}
        self._stop_after = b""
        self._is_stopped = False
        self._met: set[bytes] = set()
        self._left_out: Mapping[int, Node] = {}
        self._changed: list[int] = []
        """Addresses of nodes that are set not to be computed."""
        self.nodes: list[int] = []
        """Addresses of the nodes of the last graph, in order, as far as it was computed."""
        self._wanted: npt.NDArray[np.bool_] = np.ones(0, dtype=np.bool_)
        self._error: Exception | None = None

    def prepare(
        self,
        wanted: npt.NDArray[np.bool_],
        read: Collection[str] = (),
        overwrites: Overwrites | None = None,
        stop_after: str = "",
        left_out: Mapping[int, Node] | None = None,
    ) -> None:
        """Set which nodes the next decode reads and overwrites.

        `wanted` is the batch's flags, bool [n_tokens]. Computation ends after the node
        `stop_after`, if given; the logits are then not valid. The nodes `left_out`, by their place
        in the graph, are not computed if the graph still has them there.
        """
        self._left_out = left_out or {}
        self.nodes = []
        self._wanted = wanted
        self._read = frozenset(name.encode() for name in read)
        self._overwrites = {name.encode(): rows for name, rows in (overwrites or {}).items()}
        self._stop_after = stop_after.encode()
        self._is_stopped = False
        self._met, self.found, self._error = set(), {}, None

    def restore(self) -> None:
        """Have all nodes computed again: llama.cpp uses a graph for several decodes."""
        for address in self._changed:
            tensor.set_computed(address, True)
        self._changed = []

    def take(self) -> dict[str, Activation]:
        """Activations that the decode read, by node.

        Raises RefusedError when a node was not computed, or has another shape than its new values.
        """
        if self._error is not None:
            raise self._error
        missed = (self._read | self._overwrites.keys()) - self._met
        if missed:
            names = ", ".join(sorted(name.decode() for name in missed))
            raise RefusedError(f"llama.cpp's graph of this model has no node {names}")
        return self.found

    def _called(self, address: int, is_question: bool, _user_data: object) -> bool:
        if is_question:
            return self._is_asked_for(address)
        if self._is_stopped:
            return False  # ends this part of the graph; another device's part may follow
        name = tensor.name_of(address)
        try:
            self._show(name, address)
        except Exception as error:  # must not pass through native code
            self._error = error
        self._is_stopped = self._error is not None or name == self._stop_after
        return not self._is_stopped

    def _is_asked_for(self, address: int) -> bool:
        if self._is_stopped:
            return True
        name = tensor.name_of(address)
        if self._left_out:
            self._leave_out(len(self.nodes), address, name)
        self.nodes.append(address)
        if self._block_inputs is not None:
            self._block_inputs.note(address)
        return name in self._read or name in self._overwrites

    def _leave_out(self, place: int, address: int, name: bytes) -> None:
        """Have the node not computed if it is to be left out; it is not computed yet."""
        node = self._left_out.get(place)
        if node is None:
            return
        if (node.address, node.name) == (address, name):
            if tensor.is_computed(address):
                tensor.set_computed(address, False)
                self._changed.append(address)
            return
        self._left_out = {}  # llama.cpp has made another graph
        if self._changed:
            self._error = EngineError("llama.cpp changed the graph of a routed pass within it")

    def _show(self, name: bytes, address: int) -> None:
        self._met.add(name)
        if name in self._overwrites:
            self._write_rows(name, address)
        if name in self._read:
            values = np.moveaxis(tensor.read(address), self._axis, 0)
            self.found[name.decode()] = np.ascontiguousarray(values)

    def _write_rows(self, name: bytes, address: int) -> None:
        whole = tensor.read(address)
        rows_of = np.moveaxis(whole, self._axis, 0)
        for tokens, values in self._overwrites[name]:
            place, rows = self._present(tokens, values, len(rows_of))
            if rows_of[place].shape != rows.shape:
                raise RefusedError(
                    f"the residual stream has shape {rows.shape} where it was kept and "
                    f"{rows_of[place].shape} at {name.decode()}"
                )
            rows_of[place] = rows
        tensor.write(address, whole)

    def _present(self, tokens: slice, values: Activation, n_rows: int) -> tuple[slice, Activation]:
        """The rows of a node to overwrite, and their values.

        The last block's nodes may hold the wanted tokens alone.
        """
        if tokens == WHOLE or n_rows == len(self._wanted):
            return tokens, values
        wanted = self._wanted[tokens]
        first = int(self._wanted[: tokens.start].sum())
        return slice(first, first + int(wanted.sum())), values[wanted]
