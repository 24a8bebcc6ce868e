"""What a measurement would have given, of losses made up."""

from __future__ import annotations

import numpy as np

from ggufsurgeon.reporting.loss_picture.picture import Against, Side
from ggufsurgeon.statistics.divergence import compare_scores
from ggufsurgeon.statistics.perplexity import Perplexity, estimate_perplexity
from ggufsurgeon.statistics.scores import Losses, PairedScores


def losses(n_chunks: int, n_scored: int, seed: int = 0) -> Losses:
    """As spread as those of a small model."""
    return np.random.default_rng(seed).gamma(1.2, 2.5, (n_chunks, n_scored))


def result(of: Losses, n_chunks_in_all: int | None = None) -> Perplexity:
    """Half of each chunk is scored, as without a stride."""
    n_ctx = 2 * (of.shape[1] + 1)
    with np.errstate(invalid="ignore", over="ignore"):
        return estimate_perplexity(of, n_ctx, n_chunks_in_all or len(of), len(of), seconds=1.0)


def against(model: Losses, base: Losses, name: str = "base.gguf") -> Against:
    with np.errstate(invalid="ignore", over="ignore"):
        found = compare_scores(PairedScores(model, base, np.zeros(model.shape), model > base))
    return Against(Side(name, result(base)), found)
