"""Results computed from the scores that are known so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scoring.group import ChunkResult, UsedDevices
from ggufsurgeon.scoring.task import ScoringTask
from ggufsurgeon.statistics.divergence import LEAST_SCORED, Comparison, compare_scores
from ggufsurgeon.statistics.estimate import exponential
from ggufsurgeon.statistics.perplexity import Perplexity, estimate_perplexity
from ggufsurgeon.statistics.scores import Losses, TokenScores, Values, joined


@dataclass(frozen=True)
class PathResult:
    """A model along one layer path on a text, beside a reference if there is one.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     plain, dropped = model.score(text, [None, gs.drop("2:3")], settings=settings)
    >>> plain.layer_path, dropped.layer_path
    ('', '0..1,3..4')
    >>> plain.perplexity.value < dropped.perplexity.value
    True
    """

    layer_path: str
    """The layer path in its notation; empty for the model as it is."""
    perplexity: Perplexity
    base: Perplexity | None = None
    """The reference on the same tokens; that of a logits file by its rows."""
    base_layer_path: str = ""
    """The layer path of the reference; empty for as it is."""
    comparison: Comparison | None = None
    """None without a reference, and below 100 scored tokens."""


class PartialResult:
    """What is known of a task: from earlier runs, and as this one goes on."""

    def __init__(self, task: ScoringTask, earlier: Sequence[TokenScores | None]) -> None:
        self._task = task
        self._rows = [_Row(scores) for scores in earlier]
        self._n_chunks_in_all = 0
        self._n_common_tokens: int | None = None
        self._base_n_chunks, self._base_seconds = 0, 0.0
        self._last = 0

    @property
    def note(self) -> str:
        """The running estimates of the layer path that was scored last, in a few words."""
        row = self._rows[self._last]
        note = f"perplexity {exponential(row.loss.value):.4f}"
        if row.kl.n:
            note += f", KL divergence {row.kl.value:.4f}"
        if len(self._rows) == 1:
            return note
        return f"{_notation(self._task.layer_paths[self._last]) or 'as it is'}: {note}"

    @property
    def n_chunks(self) -> tuple[int, ...]:
        """How many chunks are known of each layer path."""
        return tuple(row.n_chunks for row in self._rows)

    def add(self, result: ChunkResult) -> None:
        """Take in the scores of the next chunks along a layer path."""
        self._rows[result.path].add(result)
        self._last = result.path
        self._n_chunks_in_all = result.n_chunks_in_all
        self._n_common_tokens = result.n_common_tokens
        self._base_n_chunks += result.reference_n_chunks
        self._base_seconds += result.reference_seconds

    def results(self, used: UsedDevices | None = None) -> tuple[PathResult, ...]:
        """The results of each layer path of which chunks are known, in the order of the task.

        `used` is of a run that came to its end.
        """
        paths = zip(self._task.layer_paths, self._rows, strict=True)
        return tuple(self._result(path, row, used) for path, row in paths if row.n_chunks)

    def _result(self, path: LayerPath | None, row: _Row, used: UsedDevices | None) -> PathResult:
        scores = joined(row.parts)
        own = self._perplexity(scores.losses, row.n_new, row.seconds, used)
        comparison = None
        if scores.paired is not None and scores.losses.size >= LEAST_SCORED:
            n_common = self._n_common_tokens if used is None else used.n_common_tokens
            comparison = compare_scores(scores.paired, _notation(path), n_common)
        return PathResult(
            _notation(path),
            own if used is None else replace(own, devices=used.model),
            self._base(scores, used),
            _notation(self._task.reference_path),
            comparison,
        )

    def _base(self, scores: TokenScores, used: UsedDevices | None) -> Perplexity | None:
        """The perplexity of the reference over the chunks of one path."""
        if scores.paired is None:
            return None
        losses = scores.base_losses
        if losses is None:  # of a logits file, which took no time
            losses = scores.paired.base_losses.astype(np.float64)
        base = self._perplexity(losses, self._base_n_chunks, self._base_seconds, used)
        return base if used is None else replace(base, devices=used.reference)

    def _perplexity(
        self, losses: Losses, n_new: int, seconds: float, used: UsedDevices | None
    ) -> Perplexity:
        n_ctx = self._task.settings.chunk_length
        n_in_all = self._n_chunks_in_all if used is None else used.n_chunks
        n_bytes = None if used is None else used.n_bytes
        if n_bytes is not None and n_bytes.shape != losses.shape:  # not all chunks are known
            n_bytes = None
        return estimate_perplexity(losses, n_ctx, n_in_all, n_new, seconds, n_bytes)


class _Row:
    """What is known along one layer path."""

    def __init__(self, earlier: TokenScores | None) -> None:
        self.parts: list[TokenScores] = []
        self.n_new, self.seconds = 0, 0.0
        self.loss, self.kl = _RunningMean(), _RunningMean()
        if earlier is not None:
            self._append(earlier)

    @property
    def n_chunks(self) -> int:
        return sum(len(part.losses) for part in self.parts)

    def add(self, result: ChunkResult) -> None:
        self._append(result.scores)
        self.n_new += len(result.scores.losses)
        self.seconds += result.seconds

    def _append(self, scores: TokenScores) -> None:
        self.parts.append(scores)
        self.loss.add(scores.losses)
        if scores.paired is not None:
            self.kl.add(scores.paired.kl)


class _RunningMean:
    """The mean of all values added, at least one."""

    def __init__(self) -> None:
        self.n, self._sum = 0, 0.0

    def add(self, values: Values) -> None:
        self.n += values.size
        self._sum += float(values.sum())

    @property
    def value(self) -> float:
        return self._sum / self.n


def _notation(path: LayerPath | None) -> str:
    return "" if path is None else str(path)
