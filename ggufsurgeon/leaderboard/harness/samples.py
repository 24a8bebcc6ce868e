"""The harness' samples (the results of single documents) as scores of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from hashlib import sha256
from typing import Any

from ggufsurgeon.leaderboard.documents import DocumentKey, DocumentScore
from ggufsurgeon.leaderboard.harness.loading import HarnessTask

_SHARED_COLUMN = {"musr": "narrative", "gpqa": "Question"}
"""What documents of one cluster have in common. MuSR asks several questions about a story;
GPQA's diamond and main sets are parts of its extended one."""


def document_score(
    task: HarnessTask, sample: Mapping[str, Any], not_finite: Set[tuple[str, int]]
) -> DocumentScore:
    """The scores of a document; all wrong where the logits of an answer are not finite numbers."""
    number = sample["doc_id"]
    is_wrong = (task.name, number) in not_finite
    values = {}
    for metric in sample["metrics"]:
        value = sample[metric]
        scores = value if isinstance(value, list) else [value]
        values[metric] = tuple(0.0 if is_wrong else float(score) for score in scores)
    is_choice = task.task.OUTPUT_TYPE == "multiple_choice"
    return DocumentScore(
        DocumentKey(number, sample["doc_hash"], sample["prompt_hash"], sample["target_hash"]),
        _cluster(task, sample),
        len(sample["arguments"]) if is_choice else None,
        values,
    )


def _cluster(task: HarnessTask, sample: Mapping[str, Any]) -> str:
    column = _SHARED_COLUMN.get(task.benchmark)
    if column is None:
        return f"{task.name} {sample['doc_id']}"
    return f"{task.benchmark} {sha256(sample['doc'][column].encode()).hexdigest()[:16]}"


def aggregates(
    task: HarnessTask, documents: tuple[DocumentScore, ...], samples: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The harness' own aggregate of each metric, over the scores of the documents.

    Its functions take a number of each document, or a list where the harness has lists.
    """
    functions = task.task.aggregation()
    metrics = {}
    for metric in samples[0]["metrics"]:
        is_list = isinstance(samples[0][metric], list)
        items = [
            list(document.values[metric]) if is_list else document.values[metric][0]
            for document in documents
        ]
        metrics[metric] = float(functions[metric](items))
    return metrics
