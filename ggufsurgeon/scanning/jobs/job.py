"""The jobs of a scan: the items of a probe, and their scores along layer paths."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.limits.threads import n_threads_of
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.router import Router, opened_router
from ggufsurgeon.scanning.jobs.groups import Group, make_groups
from ggufsurgeon.scanning.probes.probe import (
    Item,
    Probe,
    items_sha256,
    kept_score,
    probe_errors,
)
from ggufsurgeon.scanning.racing.race import Order
from ggufsurgeon.scoring.chunks import N_UBATCH
from ggufsurgeon.scoring.logits.row_targets import score_targets
from ggufsurgeon.workers.session import Reporter, Session

LogProbs = npt.NDArray[np.float64]


class ItemTable(NamedTuple):
    """The items of a probe as a store knows them."""

    labels: tuple[str, ...]
    n_tokens: tuple[int, ...]
    sha256: str
    groups: tuple[range, ...]
    """The items of each group."""


class Scored(NamedTuple):
    """The scores of a group of items along one layer path, which a job emits."""

    path: LayerPath
    items: range
    scores: tuple[float, ...]
    """NaN where the logits, or the score that the probe gives, are not finite numbers."""
    seconds: float
    parsed: tuple[float, ...] = ()
    """Of generated answers: 1 where one could be parsed, 0 where not, NaN as in `scores`."""


class Work(NamedTuple):
    """Layer paths to run on a group of items."""

    group: int
    paths: tuple[LayerPath, ...]


class _Arranged(NamedTuple):
    """The items of a scan in its order, which is that of a race or of a search if there is one."""

    items: Sequence[Item]
    numbers: Sequence[int]
    """The index of each item in the probe."""
    groups: Sequence[Group]


def list_items(
    session: Session, model: Path, devices: Devices, probe: Probe, order: Order | None, _: Reporter
) -> ItemTable:
    """The items of a probe in the tokens of a model, in an order of their own if there is one.

    Raises UsageError where they do not fit.
    """
    items, _numbers, made = _arranged(session.model(model, devices), probe, order)
    groups = tuple(range(one.first, one.first + one.n_items) for one in made)
    return ItemTable(
        tuple(item.label for item in items),
        tuple(sum(len(one.tokens) for one in item.sequences) for item in items),
        items_sha256(items),
        groups,
    )


def scan_job(
    session: Session,
    model: Path,
    devices: Devices,
    probe: Probe,
    order: Order | None,
    work: Sequence[Work],
    reporter: Reporter,
) -> None:
    """Score groups of items along layer paths; a Scored is emitted for each path of each group.

    The path of all blocks runs first in each group, wanted or not: it gives the states of all
    windows. Raises RefusedError for a path that cannot be routed.
    """
    loaded = session.model(model, devices)
    arranged = _arranged(loaded, probe, order)
    chosen = [arranged.groups[one.group] for one in work]
    identity = LayerPath.identity(loaded.n_blocks)
    threads = n_threads_of(devices)
    with _opened_router(loaded, chosen) as router, ThreadPoolExecutor(threads) as pool:
        for one, group in zip(work, chosen, strict=True):
            paths = [identity, *(path for path in one.paths if path != identity)]
            start = time.perf_counter()
            for path, log_probs in _along(router, group, paths, pool):
                seconds, start = time.perf_counter() - start, time.perf_counter()
                if path in one.paths:
                    scores = _scores(probe, arranged, group, path, log_probs)
                    items = range(group.first, group.first + group.n_items)
                    reporter.emit(Scored(path, items, scores, seconds))


def _opened_router(model: Model, groups: Sequence[Group]) -> AbstractContextManager[Router]:
    return opened_router(
        [model],
        max(group.n_ctx for group in groups),
        max(group.n_sequences for group in groups),
        n_batch=N_UBATCH,
        keeps_all_windows=False,
        sharing=any(group.run.is_shared for group in groups),
    )


def _arranged(model: Model, probe: Probe, order: Order | None) -> _Arranged:
    items = _items(model, probe)
    may_share = not model.has_state  # a recurrent state is that of one sequence
    if order is None:
        return _Arranged(items, range(len(items)), make_groups(items, may_share=may_share))
    course = order.course(len(items))
    ordered = [items[number] for number in course.numbers]
    begins = {one.start for one in course.rounds}
    return _Arranged(ordered, course.numbers, make_groups(ordered, begins, may_share=may_share))


def _items(model: Model, probe: Probe) -> Sequence[Item]:
    with probe_errors(probe.name):
        items = probe.items(model)
    for item in items:
        for one in item.sequences:
            if not 0 < one.first < len(one.tokens):
                raise UsageError(f"probe {probe.name}: item {item.label} has no tokens to score")
            if len(one.tokens) > model.n_ctx_train:
                raise UsageError(
                    f"probe {probe.name}: item {item.label} has {len(one.tokens)} tokens, and "
                    f"{model.path} was trained on contexts of {model.n_ctx_train}"
                )
    if len(items) < 2:
        raise UsageError(f"probe {probe.name}: {len(items)} items; at least 2 are needed")
    return items


def _along(
    router: Router, group: Group, paths: Sequence[LayerPath], pool: ThreadPoolExecutor
) -> Iterator[tuple[LayerPath, list[LogProbs]]]:
    """The log-probabilities of the scored tokens of each sequence, path by path."""
    run = group.run
    ends = np.cumsum([piece.wanted.sum() for piece in run.pieces])
    found = np.empty(len(run.rows))
    for decoded in router.stream(run.pieces, paths):
        end = ends[decoded.piece]
        first = end - len(decoded.logits)
        own = np.flatnonzero((run.rows >= first) & (run.rows < end))
        rows, targets = run.rows[own] - first, run.targets[own]
        found[own] = score_targets(decoded.logits, rows, targets, pool).log_probs
        if decoded.piece == len(run.pieces) - 1:
            yield paths[decoded.path], np.split(found, np.cumsum(run.n_scored)[:-1])
            found = np.empty(len(run.rows))


def _scores(
    probe: Probe,
    arranged: _Arranged,
    group: Group,
    path: LayerPath,
    log_probs: Sequence[LogProbs],
) -> tuple[float, ...]:
    owned: dict[int, list[LogProbs]] = {}
    for owner, values in zip(group.owners.tolist(), log_probs, strict=True):
        owned.setdefault(owner, []).append(values)
    scores = []
    for index, own in owned.items():
        score = math.nan
        if all(np.isfinite(values).all() for values in own):
            label = arranged.items[index].label
            with probe_errors(probe.name, f"item {label!r} along {path}"):
                score = float(probe.score(arranged.numbers[index], own))
        scores.append(kept_score(score))
    return tuple(scores)
