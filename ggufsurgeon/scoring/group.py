"""A group of chunks along all layer paths of a task: decoded, paired, scored and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.logits_file import LogitsWriter, opened_logits_writer
from ggufsurgeon.scoring.chunks import Chunks
from ggufsurgeon.scoring.logits.kept_logits import KeptLogits, ReferenceRows
from ggufsurgeon.scoring.logits.rows import GroupRows, LogitRows
from ggufsurgeon.scoring.logits.score_rows import Scorer, ScoresByPlace, in_order
from ggufsurgeon.scoring.task import LogitsFileReference, ModelReference, PathReference, ScoringTask
from ggufsurgeon.statistics.perplexity import Lengths
from ggufsurgeon.statistics.scores import TokenScores
from ggufsurgeon.workers.session import Reporter


class ChunkResult(NamedTuple):
    """The scores of the next chunks along one layer path, which a job emits."""

    path: int
    """The index of the path in the task."""
    scores: TokenScores
    n_chunks_in_all: int
    """Chunks of the whole text."""
    seconds: float
    """Time for decoding and scoring them; loading is left out."""
    reference_n_chunks: int = 0
    """Chunks that the reference has run since the last result."""
    reference_seconds: float = 0.0
    """Time for decoding these."""
    n_common_tokens: int | None = None
    """As of `UsedDevices`."""


class UsedDevices(NamedTuple):
    """What a scoring job returns: facts on the text and vocabularies, and where the models were."""

    n_chunks: int
    """Chunks of the whole text."""
    model: tuple[DeviceUse, ...]
    reference: tuple[DeviceUse, ...] = ()
    """Empty for a logits file, and without a reference."""
    n_bytes: Lengths | None = None
    """Bytes of text of the scored tokens, [n_chunks, n_scored]."""
    n_common_tokens: int | None = None
    """Tokens that both vocabularies have, where the reference has one of another size."""


class GroupScorer:
    """Runs groups of chunks and emits their results. Made by `opened_group_scorer`."""

    def __init__(
        self,
        task: ScoringTask,
        chunks: Chunks,
        n_done: Sequence[int],
        scorer: Scorer,
        writer: LogitsWriter | None,
        reporter: Reporter,
        n_common_tokens: int | None,
    ) -> None:
        self._task, self._chunks, self._n_done = task, chunks, n_done
        self._scorer, self._writer, self._reporter = scorer, writer, reporter
        self._n_common_tokens = n_common_tokens
        self._mark = time.perf_counter()
        self._reference_n_chunks, self._reference_seconds = 0, 0.0

    def start_clock(self, at: float | None = None) -> None:
        """Count time from now on, or from `at` (time.perf_counter)."""
        self._mark = time.perf_counter() if at is None else at

    def groups(self) -> list[int]:
        """The first chunk of each group that some path has not been scored on."""
        return [group for group in self._chunks.groups if group >= min(self._n_done)]

    def begin(self, model: Model, before: int = 0) -> None:
        """Report a step over all chunks and paths; groups before chunk `before` are done."""
        n_chunks = len(self._chunks.tokens)
        self._reporter.begin(model.path.name, n_chunks * len(self._n_done), "chunks")
        self._reporter.advance(sum(min(max(n, before), n_chunks) for n in self._n_done))

    def keep(self, group: int, rows: GroupRows, path: LayerPath, kept: KeptLogits) -> None:
        """Run another model, the reference, and keep its logits."""
        for decoded in rows(group, [path]):
            kept.put(decoded.rows)
        self._spend_on_reference(len(self._chunks.of_group(group)), self._lap())

    def score(
        self, group: int, model: Model, rows: GroupRows, base: ReferenceRows | None = None
    ) -> None:
        """Run all paths that still need the group, and emit the scores of each.

        `base` has the rows of the reference. Where that is a path of the same model, it runs
        first, and `base` is where its logits are kept.
        """
        lanes = self._lanes(group, LayerPath.identity(model.n_blocks))
        is_path = isinstance(self._task.reference, PathReference)
        kept = base if is_path and isinstance(base, KeptLogits) else None
        n_group = len(self._chunks.of_group(group))
        n_left = n_group * self._chunks.n_scored
        found: ScoresByPlace = {}
        seconds = 0.0
        for lane, decoded in rows(group, [path for path, _ in lanes]):
            indices = lanes[lane][1]
            if lane == 0 and kept is not None:
                kept.put(decoded)
            if indices:
                self._write(decoded)
                found |= self._scorer.score(decoded, base)
            seconds += self._lap()
            n_left -= sum(len(row.targets) for row in decoded)
            if decoded and n_left == 0:
                if lane == 0 and kept is not None:
                    self._spend_on_reference(n_group, seconds)
                self._emit(indices, found, n_group, seconds)
                found, seconds, n_left = {}, 0.0, n_group * self._chunks.n_scored

    def _lanes(self, group: int, identity: LayerPath) -> list[tuple[LayerPath, list[int]]]:
        """The distinct layer paths to run, and which paths of the task each of them scores."""
        lanes: dict[LayerPath, list[int]] = {}
        if isinstance(self._task.reference, PathReference):
            lanes[self._task.reference.layer_path or identity] = []
        for index, (path, n_done) in enumerate(
            zip(self._task.layer_paths, self._n_done, strict=True)
        ):
            if n_done <= group:
                lanes.setdefault(path or identity, []).append(index)
        return list(lanes.items())

    def _write(self, decoded: Sequence[LogitRows]) -> None:
        if self._writer is not None:
            for chunk, first, _, logits in decoded:
                self._writer.write(chunk, first, logits)

    def _emit(
        self, indices: Sequence[int], found: ScoresByPlace, n_group: int, seconds: float
    ) -> None:
        n_chunks = len(self._chunks.tokens)
        for index in indices:
            spent = self._reference_n_chunks, self._reference_seconds
            scores = in_order(found, n_group)
            more = *spent, self._n_common_tokens
            self._reporter.emit(ChunkResult(index, scores, n_chunks, seconds, *more))
            self._reference_n_chunks, self._reference_seconds = 0, 0.0

    def _spend_on_reference(self, n_chunks: int, seconds: float) -> None:
        self._reference_n_chunks += n_chunks
        self._reference_seconds += seconds

    def _lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        return seconds


@contextmanager
def opened_group_scorer(
    task: ScoringTask,
    chunks: Chunks,
    n_done: Sequence[int],
    n_vocab: int,
    reporter: Reporter,
    n_common_tokens: int | None = None,
) -> Iterator[GroupScorer]:
    """A scorer of the groups of `chunks`; the paths of the task are scored up to chunk `n_done`.

    `n_vocab` is that of the model, `n_common_tokens` as of `UsedDevices`. Raises WriteFailedError
    when logits are to be saved and cannot be.
    """
    with ExitStack() as stack:
        scorer = stack.enter_context(
            Scorer(
                str(task.model),
                _reference_name(task),
                n_threads=task.devices.n_threads,
                is_single=chunks.wants_all,
            )
        )
        writer = None
        if task.save_logits is not None:
            opened = opened_logits_writer(task.save_logits, chunks.tokens, n_vocab)
            writer = stack.enter_context(opened)
        yield GroupScorer(task, chunks, n_done, scorer, writer, reporter, n_common_tokens)


def _reference_name(task: ScoringTask) -> str:
    """What messages call the reference."""
    if isinstance(task.reference, ModelReference):
        return str(task.reference.model)
    if isinstance(task.reference, LogitsFileReference):
        return str(task.reference.file)
    return str(task.model)
