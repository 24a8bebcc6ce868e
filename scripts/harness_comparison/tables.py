"""Rows of the tables that `compare_with_harness` prints, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness_comparison.differences import compare_likelihoods, compare_texts
from harness_comparison.own_backend import OwnRun

Record = dict[str, Any]
"""What `hf_backend` wrote."""


def likelihood_row(found: Record, run: OwnRun, tasks: Sequence[str]) -> str | None:
    """Log-likelihoods of some tasks; None where texts are generated."""
    samples = _samples(found, tasks)
    if _is_generated(samples):
        return None
    compared = compare_likelihoods(samples, run.answers)
    n_requests = len(compared.differences)
    return (
        f"{compared.n_documents} | {n_requests} | {compared.median:.4f} | {compared.greatest:.4f} "
        f"| {compared.n_greedy_equal} of {n_requests} "
        f"| {compared.n_choices_equal} of {compared.n_documents}"
    )


def text_row(found: Record, run: OwnRun, tasks: Sequence[str]) -> str | None:
    """Texts of some tasks; None where choices are scored."""
    samples = _samples(found, tasks)
    if not _is_generated(samples):
        return None
    compared = compare_texts(samples, run.answers, found["generated"])
    n_equal = compared.n_texts - len(compared.differences)
    parts = [f"{one.n_tokens_equal}: {one.margin:.3f}" for one in compared.differences]
    return f"{compared.n_texts} | {n_equal} | {', '.join(parts)}"


def score_row(found: Record, run: OwnRun, tasks: Sequence[str]) -> str:
    """Means over the documents of some tasks, and how many of them are scored alike."""
    scored = [task for task in run.scores if task.task in tasks]
    pairs = [
        (sample, document)
        for task in scored
        for sample, document in zip(found["samples"][task.task], task.documents, strict=True)
    ]
    metrics = list(scored[0].metrics)
    n_alike = sum(all(_theirs(one, m) == own.values[m] for m in metrics) for one, own in pairs)
    theirs = [_mean([_theirs(one, metric) for one, _ in pairs]) for metric in metrics]
    ours = [_mean([own.values[metric] for _, own in pairs]) for metric in metrics]
    return (
        f"{', '.join(metrics)} | {n_alike} of {len(pairs)} "
        f"| {', '.join(f'{one:.4f}' for one in theirs)} | {', '.join(f'{one:.4f}' for one in ours)}"
    )


def _samples(found: Record, tasks: Sequence[str]) -> list[dict[str, Any]]:
    return [sample for task in tasks for sample in found["samples"][task]]


def _is_generated(samples: Sequence[dict[str, Any]]) -> bool:
    return isinstance(samples[0]["arguments"][0][1], dict)


def _theirs(sample: dict[str, Any], metric: str) -> tuple[float, ...]:
    value = sample[metric]
    return tuple(map(float, value if isinstance(value, list) else [value]))


def _mean(values: Sequence[tuple[float, ...]]) -> float:
    every = [one for some in values for one in some]
    return sum(every) / len(every)
