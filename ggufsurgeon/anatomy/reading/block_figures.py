"""What each block does to the residual stream of a text. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ggufsurgeon.anatomy.reading.states import Vectors


class BlockFigures(NamedTuple):
    """Means over the tokens of one text; several texts add a first axis [n_texts]."""

    influence: Vectors
    """1 - cosine of what enters and leaves a block, [n_blocks]."""
    norms: Vectors
    """Euclidean norm of the input of block 0 and of what leaves each block, [n_blocks + 1]."""
    added: Vectors
    """Euclidean norm of what a block adds, [n_blocks]."""


def block_figures(vectors: Vectors) -> BlockFigures:
    """The figures of states [n_blocks + 1, n_tokens, n_values].

    Influence is the Block Influence of ShortGPT (arXiv 2403.03853, equation 1). A token whose state
    is 0 has no direction: its cosine counts as 0.
    """
    before, behind = vectors[:-1], vectors[1:]
    norms = np.linalg.norm(vectors, axis=-1)
    products = (before * behind).sum(axis=-1)
    lengths = norms[:-1] * norms[1:]
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return BlockFigures(
        influence=1 - cosines.mean(axis=-1),
        norms=norms.mean(axis=-1),
        added=np.linalg.norm(behind - before, axis=-1).mean(axis=-1),
    )
