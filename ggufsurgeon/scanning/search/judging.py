"""From the scores in a store to what a search found: its steps are gone through again. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.layer_path.edits import WindowEdit
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.search.beam import Space, beam_search
from ggufsurgeon.scanning.search.candidates import Composition
from ggufsurgeon.scanning.search.composition_paths import CompositionPaths
from ggufsurgeon.scanning.search.findings import BestOfLength, SearchFindings, SearchLuck, TriedPath
from ggufsurgeon.scanning.search.front import best_of_lengths, is_on_front
from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
from ggufsurgeon.scanning.search.luck import N_REPLAYS, search_luck
from ggufsurgeon.scanning.search.measured import Measured
from ggufsurgeon.scanning.search.singles import Scores, Singles, scanned_singles
from ggufsurgeon.scanning.search.verdict import search_verdict
from ggufsurgeon.scanning.verdicts.findings import PathCost
from ggufsurgeon.scanning.verdicts.judging import too_few
from ggufsurgeon.scanning.windows import scan_path
from ggufsurgeon.statistics.estimate import mean_of
from ggufsurgeon.statistics.maximum import MaximumNull, maximum_null
from ggufsurgeon.store.scan_scores import ScannedPath

NOT_OVER = "No verdict: the search is not over."


class SearchData(NamedTuple):
    """What a store has of a search."""

    name: str
    unit: str
    n_items: int
    n_blocks: int
    """Those of the model."""
    scores: Scores
    """With items in the order of the search."""
    scan_scores: Scores
    """Of the scan, with items in the order of the probe."""
    paths: Mapping[str, ScannedPath]
    limits: SearchLimits
    items: SearchItems
    singles: Sequence[str]
    """The layer paths of the windows that it composes, the best first."""
    n_bytes_read: int


class _Tried(NamedTuple):
    """What a search has run on its search items."""

    scores: dict[Composition, float]
    paths: CompositionPaths
    is_over: bool


class _UnfinishedError(Exception):
    """A step of the search has not been run."""


def judge_search(data: SearchData, n_replays: int = N_REPLAYS) -> SearchFindings:
    """The findings of a search, finished or not; luck is of so many replays."""
    measured = Measured(data.scores, data.items, data.n_items, data.n_blocks)
    tried = _tried(data, measured)
    singles = scanned_singles(data.scan_scores, data.n_blocks, measured.numbers(measured.search))
    rows = {one: _row(data, measured, tried, one) for one in tried.scores}
    chosen = best_of_lengths(tried.scores)
    held_out = _held_out(measured, tried, chosen, data.items.seed)
    best = tuple(
        _best(rows[one], list(rows.values()), measured, held_out, place)
        for place, one in enumerate(chosen)
    )
    is_better, verdict = _verdict(measured, tried, best, held_out)
    return SearchFindings(
        probe=data.name,
        unit=data.unit,
        limits=data.limits,
        items=data.items,
        n_search=len(measured.search),
        n_held_out=len(measured.held_out),
        n_scanned=len(singles.edits),
        n_singles=len(data.singles),
        tried=tuple(sorted(rows.values(), key=lambda row: -row.score)),
        best=best,
        luck=_luck(data, measured, tried, singles, n_replays) if held_out is not None else None,
        held_out_luck_z=math.nan if held_out is None else held_out.luck_z,
        is_better=is_better,
        verdict=verdict,
    )


def edit_of(layer_path: str, n_blocks: int) -> WindowEdit:
    """The edit that makes a layer path of one window. Raises ValueError for another path."""
    edit = scan_path(LayerPath(layer_path), n_blocks).edit
    if edit is None:
        raise ValueError(f"{layer_path} is no window")
    return edit


def _tried(data: SearchData, measured: Measured) -> _Tried:
    """The steps of the search, as far as they were run."""

    def can_be_used(path: LayerPath) -> bool:
        known = data.paths.get(str(path))
        return known is None or not (known.refusal or known.not_writable)

    paths = CompositionPaths(data.n_blocks, can_be_used)
    found: dict[Composition, float] = {}

    def score(step: Sequence[Composition]) -> list[float]:
        of_step = [paths.of(one) for one in step]
        if not all(measured.has(path, measured.search) for path in of_step):
            raise _UnfinishedError
        scores = measured.search_scores(of_step)
        found.update(zip(step, scores, strict=True))
        return scores

    singles = [edit_of(name, data.n_blocks) for name in data.singles]
    try:
        beam_search(Space(singles, data.limits, paths.usable), score)
    except _UnfinishedError:
        return _Tried(found, paths, False)
    return _Tried(found, paths, True)


def _row(data: SearchData, measured: Measured, tried: _Tried, one: Composition) -> TriedPath:
    name = str(tried.paths.of(one))
    known = data.paths[name]
    n_bytes = data.n_bytes_read + known.n_bytes_weights
    return TriedPath(
        layer_path=name,
        score=tried.scores[one],
        search=mean_of(measured.differences(name, measured.search).tolist()),
        cost=PathCost(known.n_bytes_weights, known.n_bytes_kv, known.n_blocks),
        relative_speed=data.n_bytes_read / n_bytes if n_bytes > 0 else math.inf,
    )


def _held_out(
    measured: Measured, tried: _Tried, chosen: Sequence[Composition], seed: int
) -> MaximumNull | None:
    """The tests of the best paths by the held-out items; None before these have been run."""
    paths = [tried.paths.of(one) for one in chosen]
    is_over = tried.is_over and all(measured.has(path, measured.held_out) for path in paths)
    if not (paths and is_over) or len(measured.known(measured.held_out)) < 2:
        return None
    differences = np.stack([measured.differences(path, measured.held_out) for path in paths])
    # A path without a number where the model has one is not better.
    is_known = np.asarray(np.isfinite(differences).all(axis=1))
    return maximum_null(np.where(is_known[:, np.newaxis], differences, 0.0), seed=seed)


def _best(
    row: TriedPath,
    rows: Sequence[TriedPath],
    measured: Measured,
    held_out: MaximumNull | None,
    place: int,
) -> BestOfLength:
    found, p_value = None, None
    if held_out is not None:
        found = mean_of(measured.differences(row.layer_path, measured.held_out).tolist())
        p_value = float(held_out.p_values[place])
    return BestOfLength(row, found, p_value, is_on_front(row, rows))


def _verdict(
    measured: Measured,
    tried: _Tried,
    best: Sequence[BestOfLength],
    held_out: MaximumNull | None,
) -> tuple[bool, str]:
    if tried.is_over and not best:
        return False, "No verdict: the scores of all paths that were run are not finite numbers."
    if held_out is None:
        return False, NOT_OVER
    n_search, n_held_out = (len(measured.known(x)) for x in (measured.search, measured.held_out))
    if problem := too_few(n_search, n_held_out):
        return False, problem
    return search_verdict(best, n_held_out)


def _luck(
    data: SearchData, measured: Measured, tried: _Tried, singles: Singles, n_replays: int
) -> SearchLuck | None:
    """What replays reach; None where the scan has no window that was run on all search items."""
    if not singles.edits:
        return None
    known = {
        one: measured.differences(tried.paths.of(one), measured.search)
        for one, score in tried.scores.items()
        if score > -math.inf
    }
    best_score = max(tried.scores.values())
    return search_luck(
        singles, known, best_score, data.limits, tried.paths, data.items.seed, n_replays
    )
