"""Logits to scores of tokens, on several threads, as they are decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.limits.threads import default_threads
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows, dequantised
from ggufsurgeon.llama_perplexity.softmax import Logits, Sums, exp, log_softmax, parts, sums_of
from ggufsurgeon.llama_perplexity.stride import single_losses
from ggufsurgeon.scoring.logits.kept_logits import ReferenceRows
from ggufsurgeon.scoring.logits.rows import LogitRows
from ggufsurgeon.statistics.scores import PairedScores, TokenScores, Values, joined

ROWS_A_TASK, LOGITS_A_TASK = 16, 1 << 16
"""What a thread takes at a time: the larger of the two."""
THREADS_FROM = 1 << 20
"""Logits of a decode. Fewer are scored sooner by this thread alone: llama.cpp's threads keep the
other cores for about a millisecond after they are done."""
ScoresByPlace: TypeAlias = "dict[tuple[int, int], TokenScores]"
"""Scores of runs of rows, each array [n], by chunk and place of the first among its scored."""


class _Run(NamedTuple):
    """Consecutive rows that one thread scores at a time."""

    rows: LogitRows
    places: range


class Scorer:
    """Scores logits by llama-perplexity's arithmetic. Use it in a `with` block.

    `model` and `base` are the names for messages; `is_single` is the arithmetic of a stride.
    """

    def __init__(
        self, model: str, base: str = "", *, n_threads: int | None = None, is_single: bool = False
    ) -> None:
        self._names = model, base
        self._is_single = is_single
        self._pool = ThreadPoolExecutor(n_threads or default_threads())

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def score(self, rows: Sequence[LogitRows], base: ReferenceRows | None = None) -> ScoresByPlace:
        """The scores of what one decode gave, beside the rows of a reference if there is one.

        Raises MalformedFileError for logits that are not numbers.
        """
        runs = [_Run(one, places) for one in rows for places in _runs(one)]
        is_much = sum(one.logits.size for one in rows) >= THREADS_FROM

        def of_run(run: _Run) -> TokenScores:
            return self._of_run(run, base)

        scores = list((self._pool.map if is_much else map)(of_run, runs))
        for found in scores:
            self._check(found)
        places = [(run.rows.chunk, run.rows.first + run.places.start) for run in runs]
        return dict(zip(places, scores, strict=True))

    def _of_run(self, run: _Run, base: ReferenceRows | None) -> TokenScores:
        """The scores of one run of rows, in the thread that calls."""
        (chunk, first, targets, logits), places = run
        found = []
        for part in parts(places.start, places.stop, logits.shape[1]):
            n = part.stop - part.start
            of_base = None if base is None else base.rows(chunk, first + part.start, n)
            found.append(
                score_rows(logits[part], targets[part], of_base, is_single=self._is_single)
            )
        return joined(found)

    def _check(self, found: TokenScores) -> None:
        for losses, name in zip((found.losses, found.base_losses), self._names, strict=True):
            if losses is None:
                continue
            # Of 32-bit probabilities some are 0, and their losses infinite.
            good = ~np.isnan(losses) if self._is_single else np.isfinite(losses)
            if not good.all():
                problem = "its logits are not finite numbers: weights or metadata are broken"
                raise MalformedFileError(name, problem)


def in_order(found: Mapping[tuple[int, int], TokenScores], n_chunks: int) -> TokenScores:
    """The scores of `n_chunks` whole chunks, [n_chunks, n_scored], from those of all runs."""
    scores = joined([found[place] for place in sorted(found)])
    return scores.reshaped(n_chunks, len(scores.losses) // n_chunks)


def _runs(rows: LogitRows) -> list[range]:
    n, n_vocab = rows.logits.shape
    step = max(ROWS_A_TASK, LOGITS_A_TASK // n_vocab)
    return [range(first, min(first + step, n)) for first in range(0, n, step)]


def score_rows(
    logits: Logits, targets: Integers, base: BaseRows | None = None, *, is_single: bool = False
) -> TokenScores:
    """The scores [n] of the tokens `targets` that follow logits [n, n_vocab], few at a time.

    `base` has the rows of a reference for the same tokens. Where its vocabulary is of another size,
    they are compared over the tokens of both, whose probabilities are made to add up to 1. With
    `is_single`, losses go by way of 32-bit probabilities.
    """
    sums = sums_of(logits)
    losses = single_losses(sums, logits, targets) if is_single else sums.losses(logits, targets)
    if base is None:
        return TokenScores(losses)
    n_common = min(base.n_vocab, logits.shape[1])
    if n_common < logits.shape[1]:
        logits = logits[:, :n_common]
        sums = sums_of(logits)
    if base.is_quantised:
        clamped = dequantised(base.rows, base.n_vocab)
        if n_common < base.n_vocab:
            clamped = log_softmax(clamped[:, :n_common]).astype(clamped.dtype)
        return TokenScores(losses, None, _paired(logits, sums, clamped, targets, base.floor))
    base_sums = sums_of(base.rows)
    base_losses, common = base_sums.losses(base.rows, targets), base.rows[:, :n_common]
    if n_common < base.n_vocab:
        base_sums = sums_of(common)
    paired = _paired(logits, sums, base_sums.log_probs(common), targets, base.floor)
    return TokenScores(losses, base_losses, paired)


def _paired(
    logits: Logits, sums: Sums, base: Values, targets: Integers, floor: float
) -> PairedScores:
    """Scores beside the log-probabilities of a base, [n, n_vocab]; all results [n].

    Computed in the type of the base's, in the order of llama-perplexity's operations
    (tools/perplexity/perplexity.cpp:191-250 in llama.cpp of 2026-10-01).
    """
    highest, log_sum = (values.astype(base.dtype) for values in (sums.highest, sums.log_sum))
    total = (highest + log_sum)[:, np.newaxis]
    at = targets[:, np.newaxis]
    losses = total - np.take_along_axis(logits, at, axis=1)
    base_losses = -np.take_along_axis(base, at, axis=1)
    with np.errstate(invalid="ignore"):  # 0 times the infinity of logits that are infinite
        # Not np.where, which guesses a branch for each logit.
        terms = exp(base) * (base > floor) * (base - logits + total)
    terms[np.isnan(terms)] = 0
    return PairedScores(
        losses[:, 0],
        base_losses[:, 0],
        terms.sum(axis=1, dtype=np.float64),
        logits.argmax(axis=1) == base.argmax(axis=1),
    )
