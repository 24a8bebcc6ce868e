"""Tables and JSON of `ggufsurgeon leaderboard`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.measuring.leaderboard_verdict import notes, verdict
from ggufsurgeon.cli.output.serializers import estimate_as_json
from ggufsurgeon.cli.output.terminal import print_table, print_text

if TYPE_CHECKING:
    from ggufsurgeon.leaderboard.results import LeaderboardResult, PathResult
    from ggufsurgeon.leaderboard.scores.changes import FigureChange
    from ggufsurgeon.leaderboard.scores.scores import FigureScore, SubtaskScore
    from ggufsurgeon.statistics.estimate import Estimate

Json = dict[str, Any]

COLUMNS = ("benchmark", "model", "raw %", "normalised", "documents")
CHANGE_COLUMNS = ("raw change", "normalised change", "p", "documents needed")
SUBTASK_COLUMNS = ("subtask", "version", "lower bound %", "documents")
TASK_PREFIX = "leaderboard_"
ROUNDING = 1e-9
"""Points that rounding leaves of an error of 0."""


def print_leaderboard(result: LeaderboardResult, names: Sequence[str], *, details: bool) -> None:
    """Print the scores and a verdict. `names` are those of the paths; they may be empty."""
    labels = _labels(result, names)
    has_changes = bool(result.paths)
    columns = (*COLUMNS, *CHANGE_COLUMNS) if has_changes else COLUMNS
    rows = [row[: len(columns)] for row in _rows(result, labels)]
    print_table("Open LLM Leaderboard", columns, rows)
    if details:
        _print_subtasks(result, labels)
    for line in (*notes(result, labels), *verdict(result, labels)):
        print_text(line)


def _labels(result: LeaderboardResult, names: Sequence[str]) -> list[str]:
    """What the table calls the base and each path."""
    base = result.base
    is_other = any(path.model != base.model for path in result.paths)
    first = str(base.model) if is_other or not result.paths else "as it is"
    where = [f"{path.model} along {path.layer_path}" for path in result.paths]
    of_paths = where if is_other else [path.layer_path for path in result.paths]
    return [first, *map(_label, names, of_paths)]


def _label(name: str, path: str) -> str:
    return f"{name} ({path})" if name else path


def _rows(result: LeaderboardResult, labels: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for n, score in enumerate(result.base.scores):
        yield (*_score_cells(score, labels[0]), *[""] * len(CHANGE_COLUMNS))
        for label, path in zip(labels[1:], result.paths, strict=True):
            own = _score_cells(path.scores[n], label)
            yield ("", *own[1:], *_change_cells(path.changes[n], score))
    if result.base.average is not None:
        for n, (label, one) in enumerate(zip(labels, (result.base, *result.paths), strict=True)):
            of_average = one.average_change
            change = "" if of_average is None else _change(of_average)
            title = "" if n else "average"
            yield (title, label, "", _value(one.average), "", "", change, "", "")


def _score_cells(score: FigureScore, label: str) -> tuple[str, ...]:
    documents = f"{score.n_documents:,}"
    if not score.is_in_full:
        documents += f" of {score.n_in_full:,}"
    return score.title, label, _value(score.raw), _value(score.normalised), documents


def _change_cells(change: FigureChange, score: FigureScore) -> tuple[str, ...]:
    return (
        _change(change.raw),
        _change(change.normalised),
        f"{change.p_value:.3g}",
        _needed(change, score),
    )


def _needed(change: FigureChange, score: FigureScore) -> str:
    """The number of documents with which a change of this size would be significant."""
    if change.is_sure:
        return "significant"
    if change.n_to_be_sure is None:
        return "?"
    beyond = "" if change.n_to_be_sure <= score.n_in_full else f" (it has {score.n_in_full:,})"
    return f"{change.n_to_be_sure:,}{beyond}"


def _value(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.2f} +/- {_error(estimate)}"


def _change(estimate: Estimate) -> str:
    return f"{estimate.value:+.2f} +/- {_error(estimate)}"


def _error(estimate: Estimate) -> str:
    """The error; unknown for documents that are all scored alike, which say nothing of it."""
    is_known = estimate.error is not None and (estimate.error > ROUNDING or not estimate.value)
    return f"{estimate.error:.2f}" if is_known else "?"


def _print_subtasks(result: LeaderboardResult, labels: Sequence[str]) -> None:
    """Print a table with the raw score of each task, along each path."""
    rows = []
    for n, score in enumerate(result.base.scores):
        for number, subtask in enumerate(score.subtasks):
            raw = [_value(path.scores[n].subtasks[number].raw) for path in result.paths]
            name = subtask.task.removeprefix(TASK_PREFIX)
            if score.name == "math-original":
                name += ", original scorer"
            cells = (f"{subtask.lower_bound:.1f}", f"{subtask.n_documents:,}")
            rows.append((name, subtask.version, *cells, _value(subtask.raw), *raw))
    print_table("Subtasks, raw %", (*SUBTASK_COLUMNS, *labels), rows)


def results_as_json(result: LeaderboardResult, names: Sequence[str], *, details: bool) -> Json:
    """All figures; with `details`, those of the subtasks."""
    paths = [
        {"name": name or None, **_path_as_json(path, details)}
        for name, path in zip(names, result.paths, strict=False)
    ]
    return {
        "base": _path_as_json(result.base, details),
        "paths": paths,
        "bar": result.bar,
        "limit": result.limit,
        "n_requests": result.n_requests,
        "verdict": verdict(result, _labels(result, names)),
    }


def _path_as_json(path: PathResult, details: bool) -> Json:
    changes = {one.name: _change_as_json(one) for one in path.changes}
    return {
        "model": str(path.model),
        "layer_path": path.layer_path,
        "benchmarks": {one.name: _score_as_json(one, details) for one in path.scores},
        "average": path.average and estimate_as_json(path.average),
        "n_answers": path.counts.n_answers,
        "n_cut": path.counts.n_cut,
        "n_not_finite": path.counts.n_not_finite,
        "n_generated": path.counts.n_generated,
        "n_at_limit": path.counts.n_at_limit,
        **({"changes": changes} if changes else {}),
        **(
            {"average_change": estimate_as_json(path.average_change)} if path.average_change else {}
        ),
    }


def _score_as_json(score: FigureScore, details: bool) -> Json:
    subtasks = {one.task: _subtask_as_json(one) for one in score.subtasks}
    return {
        "raw": estimate_as_json(score.raw),
        "normalised": estimate_as_json(score.normalised),
        "n_documents": score.n_documents,
        "n_in_full": score.n_in_full,
        **({"subtasks": subtasks} if details else {}),
    }


def _subtask_as_json(subtask: SubtaskScore) -> Json:
    return {
        "version": subtask.version,
        "raw": estimate_as_json(subtask.raw),
        "lower_bound": subtask.lower_bound,
        "n_documents": subtask.n_documents,
    }


def _change_as_json(change: FigureChange) -> Json:
    return {
        "raw": estimate_as_json(change.raw),
        "normalised": estimate_as_json(change.normalised),
        "p_value": change.p_value,
        "n_to_be_sure": change.n_to_be_sure,
    }
