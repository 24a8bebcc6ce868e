"""Scores of the documents of a task, as lm-evaluation-harness gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class DocumentKey(NamedTuple):
    """What identifies a document of a task; two runs are paired by it."""

    number: int
    """The harness' `doc_id`."""
    document_sha256: str
    """The harness' `doc_hash`."""
    prompt_sha256: str
    target_sha256: str


class DocumentScore(NamedTuple):
    """The scores of one document."""

    key: DocumentKey
    cluster: str
    """Documents of one cluster are not independent: placements of one MuSR story, one question in
    GPQA's nested sets. Elsewhere it is the document's own. Clusters may span tasks of a
    benchmark."""
    n_choices: int | None
    """Choices of this document; None where text is generated."""
    values: Mapping[str, tuple[float, ...]]
    """By the harness' name of a metric, such as `acc_norm`: one number, or one for each
    instruction of IFEval's `inst_level_strict_acc`. Wrong is 0, right 1."""


class TaskScore(NamedTuple):
    """The scores of a task of the harness along one layer path."""

    task: str
    """The harness' name, such as `leaderboard_bbh_navigate`."""
    version: str
    """The harness' version of the task."""
    metrics: Mapping[str, float]
    """The harness' own aggregates by the name of the metric, without its filter."""
    documents: tuple[DocumentScore, ...]
    n_not_finite: int = 0
    """Documents with an answer whose logits are not finite numbers: they are scored as wrong,
    whatever the other answers are."""
