"""Measurements as jobs for a child process: one model in memory, or two in step."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.device_use import DeviceUse
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.session import Reporter, Session
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.logits_file import BaseFile, opened_base, opened_writer
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows
from ggufsurgeon.routing.array_store import ArrayStore
from ggufsurgeon.scoring.chunks import Chunks, Scored, cut_text
from ggufsurgeon.scoring.rows import path_of, path_rows, side_rows
from ggufsurgeon.scoring.tally import BasePart, Names, Piece, tally
from ggufsurgeon.scoring.task import Task
from ggufsurgeon.statistics.divergence import check_enough
from ggufsurgeon.statistics.scores import Findings


class News(NamedTuple):
    """What a job says each time that it knows more."""

    findings: Findings
    n_chunks: int
    """In all."""
    seconds: float
    """Since the last news; loading is left out."""


class Outcome(NamedTuple):
    """What a job returns."""

    n_chunks: int
    devices: tuple[DeviceUse, ...]
    base_devices: tuple[DeviceUse, ...] = ()


def measure_one(session: Session, task: Task, reporter: Reporter) -> Outcome:
    """Run one model: by itself, against a file, or against itself along another path.

    Raises UsageError for a text or a base that does not fit, RefusedError for a path that cannot
    be routed, MalformedFileError for logits or a base file that are none, WriteFailedError.
    """
    model = session.model(task.side.model, task.options)
    with _opened_base(task) as base:
        start = time.perf_counter()
        chunks = cut_chunks(model, task)
        if base is not None:
            chunks = _fitted(model, chunks, base, task)
        n_chunks = len(chunks.tokens)
        chunks = replace(chunks, tokens=chunks.tokens[: task.last])
        with (
            closing(_pieces(model, chunks, task, base)) as pieces,
            _saved(pieces, model, chunks, task) as passed_on,
        ):
            _measure(passed_on, model, chunks, n_chunks, task, start, reporter)
        return Outcome(n_chunks, model.devices(), model.devices() if task.base else ())


def measure_in_step(session: Session, task: Task, reporter: Reporter) -> Outcome:
    """Run a model and its base, both in memory, a batch of each in turn. Raises as `measure_one`.

    Both read the text alike: `look_at_both` has seen to that.
    """
    assert task.base is not None
    routed = task.is_routed
    base = session.model(task.base.model, task.options)
    begin = time.perf_counter()
    chunks = cut_chunks(base, task)
    n_chunks = len(chunks.tokens)
    with closing(side_rows(base, chunks, task.base, task.first, is_routed=routed)) as base_rows:
        seconds = time.perf_counter() - begin
        model = session.model(task.side.model, task.options)
        start = time.perf_counter() - seconds
        own = side_rows(model, chunks, task.side, task.first, is_routed=routed)
        with closing(own) as own_rows:
            pieces = _side_by_side(own_rows, base_rows, base.n_vocab)
            _measure(pieces, model, chunks, n_chunks, task, start, reporter)
    return Outcome(n_chunks, model.devices(), base.devices())


def cut_chunks(model: Model, task: Task) -> Chunks:
    """The text of a task in chunks.

    Raises UsageError for a text or a model that does not fit the task.
    """
    is_alone = task.base is None and task.base_logits is None and task.save_to is None
    if task.settings.stride is not None and (task.is_routed or not is_alone):
        raise UsageError("a stride cannot be combined with a base, a layer path or saved logits")
    chunks = cut_text(model, task.text, task.settings)
    if task.base is not None:
        check_enough(len(chunks.tokens) * chunks.n_scored)
    return chunks


def _measure(
    pieces: Iterator[list[Piece]],
    model: Model,
    chunks: Chunks,
    n_chunks: int,
    task: Task,
    start: float,
    reporter: Reporter,
) -> None:
    names = Names(str(model.path), str(task.base.model) if task.base else "")
    reporter.begin(model.path.name, len(chunks.tokens), "chunks")
    reporter.advance(task.first)
    for findings in tally(pieces, chunks, task.first, names, task.options.n_threads):
        now = time.perf_counter()
        reporter.emit(News(findings, n_chunks, now - start))
        start = now


def _pieces(
    model: Model, chunks: Chunks, task: Task, base: BaseFile | None
) -> Generator[list[Piece], None, None]:
    """What one loaded model gives, with what its base does; a list is of one decode."""
    first, routed = task.first, task.is_routed
    if task.base is not None and routed:
        paths = [path_of(side, model) for side in (task.base, task.side)]
        yield from _along_two(model, chunks, paths, first)
        return
    with closing(side_rows(model, chunks, task.side, first, is_routed=routed)) as own:
        if task.base is not None:
            with closing(side_rows(model, chunks, task.base, first, is_routed=routed)) as others:
                yield from _side_by_side(own, others, model.n_vocab)
        elif base is not None:
            for decoded in own:
                yield [Piece(one, _of_file(base, one, task)) for one in decoded]
        else:
            for decoded in own:
                yield [Piece(one) for one in decoded]


def _along_two(
    model: Model, chunks: Chunks, paths: Sequence[LayerPath], first: int
) -> Iterator[list[Piece]]:
    """The rows along the second path beside those along the first, which are kept for a group."""
    with (
        ArrayStore[tuple[int, int]]() as kept,
        closing(path_rows(model, chunks, paths, first)) as rows,
    ):
        for path, group in groupby(rows, key=itemgetter(0)):
            if path == 0:
                kept.clear()
            for _, decoded in group:
                if path == 0:
                    for scored in decoded:
                        kept.put(scored.place, np.array(scored.logits))
                else:
                    bases = [BaseRows(kept.get(s.place), model.n_vocab) for s in decoded]
                    yield [Piece(s, base.part) for s, base in zip(decoded, bases, strict=True)]


def _side_by_side(
    own: Iterable[list[Scored]], base: Iterable[list[Scored]], n_vocab: int
) -> Iterator[list[Piece]]:
    """The same tokens of both."""
    for decoded, others in zip(own, base, strict=True):
        pairs = list(zip(decoded, others, strict=True))
        assert all((one.chunk, one.first) == (other.chunk, other.first) for one, other in pairs)
        yield [Piece(one, BaseRows(other.logits, n_vocab).part) for one, other in pairs]


def _of_file(base: BaseFile, scored: Scored, task: Task) -> BasePart:
    """The rows of a base file for the same tokens, which are read where they are scored."""
    assert task.base_logits is not None
    chunk = scored.chunk - task.base_logits.first_chunk

    def part(rows: slice) -> BaseRows:
        return base.rows(chunk, scored.first + rows.start, rows.stop - rows.start)

    return part


def _fitted(model: Model, chunks: Chunks, base: BaseFile, task: Task) -> Chunks:
    """As many chunks as the base has, unless another number is asked for."""
    if task.settings.n_chunks is None and task.last is None:
        chunks = replace(chunks, tokens=chunks.tokens[: base.shape.n_chunks])
    check_enough(len(chunks.tokens) * chunks.n_scored)
    assert task.base_logits is not None
    asked = chunks.tokens[task.base_logits.first_chunk : task.last]
    base.check(str(model.path), model.n_vocab, asked)
    return chunks


@contextmanager
def _opened_base(task: Task) -> Iterator[BaseFile | None]:
    if task.base_logits is None:
        yield None
        return
    with opened_base(task.base_logits.path, task.base_logits.name) as base:
        yield base


@contextmanager
def _saved(
    pieces: Iterator[list[Piece]], model: Model, chunks: Chunks, task: Task
) -> Iterator[Iterator[list[Piece]]]:
    """The pieces as they come, written on their way where the task says so."""
    if task.save_to is None:
        yield pieces
        return
    tokens, exact = chunks.tokens[task.first :], task.save_exact
    with opened_writer(task.save_to, tokens, model.n_vocab, is_exact=exact) as writer:

        def written(decoded: list[Piece]) -> list[Piece]:
            for scored, _ in decoded:
                writer.write(scored.chunk - task.first, scored.first, scored.logits)
            return decoded

        yield map(written, pieces)
