"""Perplexity of a loaded model, in this process."""

from __future__ import annotations

import time

from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.scoring.chunks import TextSettings, cut_text
from ggufsurgeon.scoring.logits.rows import opened_rows
from ggufsurgeon.scoring.logits.score_rows import Scorer, ScoresByPlace, in_order
from ggufsurgeon.statistics.perplexity import Perplexity, estimate_perplexity
from ggufsurgeon.statistics.scores import joined


def measure_perplexity(
    model: Model, text: bytes, settings: TextSettings, progress: Progress = NO_PROGRESS
) -> Perplexity:
    """The perplexity of a loaded model on `text`.

    Raises UsageError when the text has fewer than two chunks or the model is not a language
    model, MalformedFileError when the model cannot run or its logits are not numbers.
    """
    start = time.perf_counter()
    chunks = cut_text(model, text, settings)
    n_chunks = len(chunks.tokens)
    path = LayerPath.identity(model.n_blocks)
    scorer = Scorer(str(model.path), n_threads=model.options.n_threads, is_single=chunks.wants_all)
    parts = []
    progress.begin(model.path.name, n_chunks, "chunks")
    with scorer, opened_rows(model, chunks, is_routed=False) as rows:
        for group in chunks.groups:
            found: ScoresByPlace = {}
            for decoded in rows(group, [path]):
                found |= scorer.score(decoded.rows)
            parts.append(in_order(found, len(chunks.of_group(group))))
            progress.advance(len(chunks.of_group(group)))
    losses, seconds = joined(parts).losses, time.perf_counter() - start
    n_bytes = model.n_bytes_of(chunks.targets)
    return estimate_perplexity(losses, settings.chunk_length, n_chunks, n_chunks, seconds, n_bytes)
