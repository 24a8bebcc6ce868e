"""Perplexity, by the algorithms of llama-perplexity."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama.device_use import DeviceUse
from ggufsurgeon.llama.model import Model
from ggufsurgeon.llama.threads import default_threads
from ggufsurgeon.measuring.scoring import (
    Chunks,
    PerplexitySettings,
    chunk_length,
    cut_text,
    scored_rows,
)
from ggufsurgeon.measuring.softmax import negative_log_likelihoods, through_probabilities
from ggufsurgeon.progress import UNWATCHED, Progress

__all__ = [
    "Losses",
    "NewChunks",
    "Perplexity",
    "PerplexitySettings",
    "estimate",
    "measure_perplexity",
]

Losses: TypeAlias = npt.NDArray[np.float64]
"""Negative log-likelihoods in nats, of the scored positions of chunks: [n_chunks, n_scored]."""


class NewChunks(NamedTuple):
    """The chunks measured last, and how many there are in all."""

    losses: Losses
    n_chunks: int


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
    """Of what this run decoded, from text to result."""
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
    model: Model,
    text: bytes,
    settings: PerplexitySettings,
    progress: Progress = UNWATCHED,
    done: Losses | None = None,
    hear: Callable[[NewChunks], object] = lambda _: None,
) -> Perplexity:
    """The perplexity of `model` on `text`.

    `done` are the losses of the first chunks, from a run that was broken off; `hear` is called
    with those of the next ones as they come. Raises UsageError when the text has fewer than two
    chunks or the model is not a language model, MalformedFileError when the model cannot run or
    its logits are no numbers.
    """
    start = time.perf_counter()
    chunks = cut_text(model, text, settings)
    n_chunks = len(chunks.tokens)
    known = [np.empty((0, chunks.n_scored)) if done is None else done]
    total, n_done = float(known[0].sum()), len(known[0])
    progress.begin(model.path.name, n_chunks, "chunks")
    progress.advance(n_done)
    for losses in _measured(model, chunks, n_done):
        known.append(losses)
        hear(NewChunks(losses, n_chunks))
        total, n_done = total + float(losses.sum()), n_done + len(losses)
        progress.advance(len(losses), f"perplexity {_exp(total / (n_done * losses.shape[1])):.4f}")
    seconds = time.perf_counter() - start
    return estimate(np.concatenate(known), settings, n_chunks, n_done - len(known[0]), seconds)


def _measured(model: Model, chunks: Chunks, n_done: int) -> Iterator[Losses]:
    """The losses of the chunks from `n_done` on, as they are decoded, chunks.n_seq at a time."""
    n_chunks = len(chunks.tokens)
    n_threads = model.options.n_threads or default_threads()
    with ThreadPoolExecutor(n_threads) as pool, closing(scored_rows(model, chunks, n_done)) as rows:
        for group in range(n_done, n_chunks, chunks.n_seq):
            n_seq = min(chunks.n_seq, n_chunks - group)
            losses = np.empty((n_seq, chunks.n_scored))
            n_left = losses.size
            while n_left:
                part = next(rows)
                scored = slice(part.first, part.first + len(part.targets))
                losses[part.chunk - group, scored] = negative_log_likelihoods(
                    part.logits, part.targets, pool
                )
                n_left -= len(part.targets)
            if not np.isfinite(losses).all():
                problem = "its logits are not finite numbers: weights or metadata are broken"
                raise MalformedFileError(str(model.path), problem)
            yield through_probabilities(losses) if chunks.wants_all else losses


def estimate(
    losses: Losses,
    settings: PerplexitySettings,
    n_chunks_in_all: int,
    n_measured: int,
    seconds: float,
) -> Perplexity:
    """What the losses of some chunks say; the last `n_measured` of them took `seconds`."""
    mean = float(losses.mean())
    variance = float((losses**2).mean()) - mean**2
    perplexity = _exp(mean)
    return Perplexity(
        perplexity=perplexity,
        perplexity_error=perplexity * math.sqrt(max(variance, 0) / max(losses.size - 1, 1)),
        n_chunks=len(losses),
        n_ctx=chunk_length(settings),
        n_scored=losses.size,
        seconds=seconds,
        tokens_per_second=n_measured * chunk_length(settings) / seconds,
        n_chunks_in_all=n_chunks_in_all,
        chunk_losses=tuple(losses.mean(axis=1).tolist()),
        position_losses=tuple(losses.mean(axis=0).tolist()),
    )


def _exp(mean: float) -> float:
    """exp, or infinity beyond the largest float."""
    return math.exp(mean) if mean < 700 else math.inf
