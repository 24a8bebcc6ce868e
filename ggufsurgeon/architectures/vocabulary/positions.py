"""Models whose positions are rows of a table, which limits how long a context can be."""

from __future__ import annotations

from ggufsurgeon.container.headers.header import Header

POSITION_TABLE = "position_embd.weight"
"""`LLM_TENSOR_POS_EMBD`, src/llama-arch.cpp."""


def has_learned_positions(header: Header) -> bool:
    """Whether the model looks its positions up in a table.

    llama.cpp ends the process on a position behind the table's end (`ggml_get_rows`); computed
    positions, such as RoPE, only become less exact.
    """
    return any(tensor.name == POSITION_TABLE for tensor in header.tensors)
