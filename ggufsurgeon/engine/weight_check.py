"""A check of which buffers a graph's weights lie in, without computing it.

llama.cpp asks a callback about each node of a stretch before it computes the first (fact of
ggml/src/ggml-backend.cpp:1822-1851), and backends skip nodes without GGML_TENSOR_FLAG_COMPUTE
(ggml/src/ggml-cpu/ggml-cpu.c:3040).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.library import llama_cpp
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.tensor import COMPUTE, Tensor, name_of, sources


def weights_in(model: Model, buffers: Collection[int]) -> set[str]:
    """Names of what the graph of one token reads from any of the native `buffers`."""
    walk = _Walk(frozenset(buffers))
    with opened_context(model, 1, 1, taps=walk) as context:
        context.decode(Batch.of(np.zeros(1, dtype=np.int32)))
    return {name.decode("utf-8", "replace") for name in walk.found}


class _Walk:
    """A `cb_eval` callback that looks at the sources of each node and has none computed."""

    def __init__(self, buffers: frozenset[int]) -> None:
        self.callback = llama_cpp().ggml_backend_sched_eval_callback(self._called)
        self.found: set[bytes] = set()
        self._buffers = buffers

    def _called(self, address: int, _is_question: bool, _user_data: object) -> bool:
        for source in sources(address):
            if Tensor.from_address(source).buffer in self._buffers:
                self.found.add(name_of(source))
        Tensor.from_address(address).flags &= ~COMPUTE
        return False
