"""Tables and JSON of `ggufsurgeon choose`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ggufsurgeon.cli.output.devices import print_devices
from ggufsurgeon.cli.output.serializers import multiple_choice_as_json, paired_difference_as_json
from ggufsurgeon.cli.output.terminal import print_table

if TYPE_CHECKING:
    from ggufsurgeon.multiple_choice.task_results import (
        MultipleChoiceResult,
        PairedDifference,
        TaskResult,
    )
    from ggufsurgeon.statistics.estimate import Estimate

    NamedResult: TypeAlias = tuple[Path, MultipleChoiceResult]
    """The file of a model, and its result along one layer path."""

COLUMNS = ("model", "accuracy", "normalised", "margin", "tasks")
DETAIL_COLUMNS = ("task", "correct", "chosen", "normalised", "margin", "log-likelihoods")


def results_as_json(
    results: Sequence[NamedResult], difference: PairedDifference | None, details: bool
) -> dict[str, Any]:
    """The first result, with the second as its base and their paired difference as its change."""
    told = [
        {"model": str(path), **multiple_choice_as_json(result, details=details)}
        for path, result in results
    ]
    base = {"base": told[1]} if len(told) == 2 else {}
    change = {"change": paired_difference_as_json(difference)} if difference is not None else {}
    return told[0] | base | change


def print_results(results: Sequence[NamedResult], difference: PairedDifference | None) -> None:
    """Print a table with a row for each result and one for the paired difference."""
    rows = [
        (_name(path, result), *_mean_cells(result), _n_tasks_cell(result))
        for path, result in results
    ]
    if difference is not None:
        rows.append(("paired difference", *_mean_cells(difference), ""))
    is_partial = any(result.is_partial for _, result in results)
    title = "Choices by log-likelihood" + (" (partial)" if is_partial else "")
    print_table(title, COLUMNS, rows)
    print_devices([(str(path), result.devices) for path, result in results])


def print_details(results: Sequence[NamedResult], tasks: Path) -> None:
    """Print a table for each result, with a row for each task."""
    for path, result in results:
        rows = [_detail_row(each) for each in result.task_results]
        print_table(f"{tasks} by {_name(path, result)}", DETAIL_COLUMNS, rows)


def _name(path: Path, result: MultipleChoiceResult) -> str:
    return str(path) if result.layer_path is None else f"{path}, {result.layer_path}"


def _n_tasks_cell(result: MultipleChoiceResult) -> str:
    of_all = f" of {result.n_tasks_in_all}" if result.is_partial else ""
    return f"{result.n_tasks}{of_all}"


def _mean_cells(means: MultipleChoiceResult | PairedDifference) -> tuple[str, str, str]:
    """Accuracies in percent, and the margin in nats."""
    return (
        _estimate_cell(means.accuracy, 100, 2),
        _estimate_cell(means.accuracy_normalised, 100, 2),
        _estimate_cell(means.margin, 1, 4),
    )


def _estimate_cell(estimate: Estimate, factor: int, n_digits: int) -> str:
    error = "?" if estimate.error is None else f"{factor * estimate.error:.{n_digits}f}"
    return f"{factor * estimate.value:.{n_digits}f} +/- {error}"


def _detail_row(result: TaskResult) -> tuple[str, ...]:
    return (
        result.id,
        str(result.answer),
        str(result.chosen),
        str(result.chosen_normalised),
        f"{result.margin:.4f}",
        " ".join(f"{value:.4f}" for value in result.log_likelihoods),
    )
