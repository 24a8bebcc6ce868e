"""The job that scores layer paths: over one loaded model, or over a model and its reference."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.logits_file import LogitsFile, opened_logits_file
from ggufsurgeon.scoring.chunks import Chunks, cut_text
from ggufsurgeon.scoring.group import UsedDevices, opened_group_scorer
from ggufsurgeon.scoring.logits.kept_logits import KeptLogits, opened_kept_logits
from ggufsurgeon.scoring.logits.rows import opened_rows
from ggufsurgeon.scoring.task import (
    LogitsFileReference,
    ModelReference,
    PathReference,
    ScoringTask,
)
from ggufsurgeon.scoring.two_models import (
    ROUND_N_BYTES,
    common_tokens,
    fit_together,
    score_in_rounds,
    score_in_step,
)
from ggufsurgeon.statistics.divergence import check_enough
from ggufsurgeon.workers.session import Reporter, Session


def score_job(
    session: Session, task: ScoringTask, n_done: Sequence[int], reporter: Reporter
) -> UsedDevices:
    """Score the layer paths of a task, each from its chunk `n_done` on.

    Emits a ChunkResult for each path and group of chunks. Raises UsageError for a text or a
    reference that does not fit, RefusedError for a path that cannot be routed, MalformedFileError
    for logits that are not numbers and for a damaged logits file, WriteFailedError.
    """
    check_stride(task)
    reference = task.reference
    if not isinstance(reference, ModelReference):
        return _score_alone(session, task, n_done, reporter)
    files = dict.fromkeys((reference.model, *task.models.all))
    if fit_together(list(files), task.devices):
        return score_in_step(session, task, reference, n_done, reporter)
    return score_in_rounds(session, task, reference, n_done, ROUND_N_BYTES, reporter)


def check_stride(task: ScoringTask) -> None:
    """Raise UsageError for a stride that cannot be measured along with all else."""
    is_alone = task.reference is None and task.save_logits is None and not task.is_routed
    if task.settings.stride is not None and not is_alone:
        raise UsageError("a stride cannot be combined with a base, a layer path or saved logits")


def _score_alone(
    session: Session, task: ScoringTask, n_done: Sequence[int], reporter: Reporter
) -> UsedDevices:
    """Score with one model: by itself, beside another of its paths, or beside a logits file."""
    sources = task.models.loaded(session, task.devices)
    model = sources.tokenizer
    start = time.perf_counter()
    with ExitStack() as stack:
        file = stack.enter_context(_opened_file(task))
        chunks = _cut(model, task, file)
        n_common = None if file is None else common_tokens(model.n_vocab, file.shape.n_vocab)
        opened = opened_group_scorer(task, chunks, n_done, model.n_vocab, reporter, n_common)
        scorer = stack.enter_context(opened)
        scorer.begin(sources.models[0])
        scorer.start_clock(start)
        rows = stack.enter_context(opened_rows(sources, chunks, is_routed=task.is_routed))
        kept = stack.enter_context(_room_for_group(task, chunks, model))
        for group in scorer.groups():
            if kept is not None:
                kept.begin(group)
            scorer.score(group, sources.models[0], rows, file or kept)
        devices = sources.devices_in_turn()
        n_bytes = model.n_bytes_of(chunks.targets)
    of_base = devices if kept is not None else ()
    return UsedDevices(len(chunks.tokens), devices, of_base, n_bytes, n_common)


def _cut(model: Model, task: ScoringTask, file: LogitsFile | None) -> Chunks:
    """The chunks of the text: as many as a logits file has, unless another number is asked for."""
    chunks = cut_text(model, task.text, task.settings)
    if file is not None and task.settings.n_chunks is None:
        chunks = replace(chunks, tokens=chunks.tokens[: file.shape.n_chunks])
    if task.reference is not None:
        check_enough(len(chunks.tokens) * chunks.n_scored)
    if file is not None:
        file.check(str(model.path), chunks.tokens)
    return chunks


@contextmanager
def _opened_file(task: ScoringTask) -> Iterator[LogitsFile | None]:
    if not isinstance(task.reference, LogitsFileReference):
        yield None
        return
    with opened_logits_file(task.reference.file) as file:
        yield file


@contextmanager
def _room_for_group(task: ScoringTask, chunks: Chunks, model: Model) -> Iterator[KeptLogits | None]:
    """Room for a group's logits of the reference, if it is a path of the same model."""
    if not isinstance(task.reference, PathReference):
        yield None
        return
    with opened_kept_logits(chunks.n_seq, chunks.n_scored, model.n_vocab) as kept:
        yield kept
