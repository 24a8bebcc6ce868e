"""Perplexity, by the algorithms of llama-perplexity."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass

from ggufsurgeon.engine.device_use import DeviceUse
from ggufsurgeon.engine.model import Model
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.scoring.chunks import TextSettings, chunk_length, cut_text, scored_rows
from ggufsurgeon.scoring.tally import Names, Piece, tally
from ggufsurgeon.statistics.figures import exponential
from ggufsurgeon.statistics.scores import Losses, joined

__all__ = ["Perplexity", "TextSettings", "estimate", "measure_perplexity"]


@dataclass(frozen=True)
class Perplexity:
    """exp(mean negative log-likelihood), with its standard error if tokens were independent."""

    perplexity: float
    perplexity_error: float
    n_chunks: int
    n_ctx: int
    n_scored: int
    seconds: float
    tokens_per_second: float
    """Of the text that this run decoded, from text to result."""
    devices: tuple[DeviceUse, ...] = ()
    n_chunks_in_all: int = 0
    """As many as n_chunks, or more where a run was broken off."""
    chunk_losses: tuple[float, ...] = ()
    """Mean loss of each chunk, in nats."""
    position_losses: tuple[float, ...] = ()
    """Mean loss of each scored position over the chunks; the last is of position n_ctx - 2."""

    @property
    def is_partial(self) -> bool:
        """Whether the run was broken off."""
        return self.n_chunks < self.n_chunks_in_all


def measure_perplexity(
    model: Model, text: bytes, settings: TextSettings, progress: Progress = NO_PROGRESS
) -> Perplexity:
    """The perplexity of a loaded model on `text`.

    Raises UsageError when the text has fewer than two chunks or the model is not a language
    model, MalformedFileError when the model cannot run or its logits are no numbers.
    """
    start = time.perf_counter()
    chunks = cut_text(model, text, settings)
    n_chunks = len(chunks.tokens)
    parts = []
    progress.begin(model.path.name, n_chunks, "chunks")
    with closing(scored_rows(model, chunks)) as rows:
        pieces = ([Piece(scored) for scored in decoded] for decoded in rows)
        for part in tally(pieces, chunks, 0, Names(str(model.path)), model.options.n_threads):
            parts.append(part)
            progress.advance(len(part.losses))
    seconds = time.perf_counter() - start
    return estimate(joined(parts).losses, settings, n_chunks, n_chunks, seconds)


def estimate(
    losses: Losses,
    settings: TextSettings,
    n_chunks_in_all: int,
    n_measured: int,
    seconds: float,
) -> Perplexity:
    """What the losses of some chunks say; the last `n_measured` of them took `seconds`."""
    mean = float(losses.mean())
    variance = float((losses**2).mean()) - mean**2
    perplexity = exponential(mean)
    return Perplexity(
        perplexity=perplexity,
        perplexity_error=perplexity * math.sqrt(max(variance, 0) / max(losses.size - 1, 1)),
        n_chunks=len(losses),
        n_ctx=chunk_length(settings),
        n_scored=losses.size,
        seconds=seconds,
        tokens_per_second=n_measured * chunk_length(settings) / seconds if n_measured else 0.0,
        n_chunks_in_all=n_chunks_in_all,
        chunk_losses=tuple(losses.mean(axis=1).tolist()),
        position_losses=tuple(losses.mean(axis=0).tolist()),
    )
