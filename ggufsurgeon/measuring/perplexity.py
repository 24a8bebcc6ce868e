"""Perplexity, by the algorithm of llama-perplexity.

The tokens of the text are cut into chunks of n_ctx; in each, BOS replaces the first token where
the model adds one, and the second half is scored, so that every token has at least n_ctx/2
tokens of context (tools/perplexity/perplexity.cpp:442-596 in llama.cpp of 2026-10-01).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.llama.context import Batch, Context, opened_context
from ggufsurgeon.llama.device_use import DeviceUse
from ggufsurgeon.llama.model import Model
from ggufsurgeon.measuring.softmax import negative_log_likelihoods
from ggufsurgeon.progress import UNWATCHED, Progress

MAX_SEQUENCES = 256
"""`LLAMA_MAX_SEQ`, src/llama-cparams.h."""


@dataclass(frozen=True)
class PerplexitySettings:
    """Defaults are llama-perplexity's."""

    n_ctx: int = 512
    n_chunks: int | None = None
    """At most so many chunks; None for the whole text."""
    n_batch: int = 2048
    """Tokens decoded at once; several chunks share a batch that has room for them."""


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
    devices: tuple[DeviceUse, ...] = ()


def measure_perplexity(
    model: Model,
    text: bytes,
    settings: PerplexitySettings,
    progress: Progress = UNWATCHED,
) -> Perplexity:
    """The perplexity of `model` on `text`.

    Raises UsageError when the text has fewer than two chunks or the model is not a language
    model, MalformedFileError when the model cannot run or its logits are no numbers.
    """
    tokens, n_chunks = _chunk(model, text, settings)
    n_seq = min(max(1, settings.n_batch // settings.n_ctx), n_chunks, MAX_SEQUENCES)
    n_batch = min(settings.n_batch, n_seq * settings.n_ctx)
    losses: list[npt.NDArray[np.float64]] = []
    progress.begin(model.path.name, n_chunks, "chunks")
    start = time.perf_counter()
    with opened_context(model, n_seq * settings.n_ctx, n_batch, n_seq) as context:
        for first in range(0, n_chunks, n_seq):
            chunks = tokens[first : first + n_seq]
            context.clear()
            losses += _chunk_losses(model, context, chunks, n_batch)
            mean = float(np.concatenate(losses).mean())
            if not math.isfinite(mean):
                problem = "its logits are not finite numbers: weights or metadata are broken"
                raise MalformedFileError(str(model.path), problem)
            progress.advance(len(chunks), f"perplexity {_exp(mean):.4f}")
    return _estimate(np.concatenate(losses), n_chunks, settings, time.perf_counter() - start)


def _chunk(
    model: Model, text: bytes, settings: PerplexitySettings
) -> tuple[npt.NDArray[np.int32], int]:
    """Tokens of shape [n_chunks, n_ctx], and n_chunks."""
    n_ctx = settings.n_ctx
    if model.no_text:
        raise UsageError(f"{model.path} cannot be measured on text: {model.no_text}")
    if model.adds_eos:
        raise UsageError(f"{model.path} ends every text with EOS; its perplexity is not defined")
    tokens = model.tokenize(text)
    if len(tokens) < 2 * n_ctx:
        raise UsageError(
            f"the text has {len(tokens)} tokens, a context of {n_ctx} needs at least {2 * n_ctx}",
            hint="Use a longer text or a smaller --ctx.",
        )
    n_chunks = min(len(tokens) // n_ctx, settings.n_chunks or len(tokens))
    return tokens[: n_chunks * n_ctx].reshape(n_chunks, n_ctx), n_chunks


def _chunk_losses(
    model: Model, context: Context, chunks: npt.NDArray[np.int32], n_batch: int
) -> list[npt.NDArray[np.float64]]:
    """Negative log-likelihoods of the scored tokens, [n_ctx - 1 - n_ctx // 2] for each chunk."""
    n_seq, n_ctx = chunks.shape
    first_scored = n_ctx // 2
    inputs = chunks.copy()
    if model.adds_bos:
        inputs[:, 0] = model.bos
    losses: list[list[npt.NDArray[np.float64]]] = [[] for _ in range(n_seq)]
    for start in range(0, n_ctx, n_batch):
        positions = np.arange(start, min(start + n_batch, n_ctx), dtype=np.int32)
        batch = Batch(
            tokens=inputs[:, positions].reshape(-1),
            positions=np.tile(positions, n_seq),
            sequences=np.repeat(np.arange(n_seq, dtype=np.int32), len(positions)),
            wanted=np.tile(positions >= first_scored, n_seq),
        )
        logits = context.decode(batch)
        scored = positions[(positions >= first_scored) & (positions < n_ctx - 1)]
        rows = logits.reshape(n_seq, -1, model.n_vocab)[:, : len(scored)]
        for sequence in range(n_seq):
            targets = chunks[sequence, scored + 1]
            losses[sequence] += negative_log_likelihoods(rows[sequence], targets)
    return [np.concatenate(parts) for parts in losses]


def _estimate(
    losses: npt.NDArray[np.float64], n_chunks: int, settings: PerplexitySettings, seconds: float
) -> Perplexity:
    mean = float(losses.mean())
    variance = float((losses**2).mean()) - mean**2
    perplexity = _exp(mean)
    return Perplexity(
        perplexity=perplexity,
        perplexity_error=perplexity * math.sqrt(max(variance, 0) / max(len(losses) - 1, 1)),
        n_chunks=n_chunks,
        n_ctx=settings.n_ctx,
        n_scored=len(losses),
        seconds=seconds,
        tokens_per_second=n_chunks * settings.n_ctx / seconds,
    )


def _exp(mean: float) -> float:
    """exp, or infinity beyond the largest float."""
    return math.exp(mean) if mean < 700 else math.inf
