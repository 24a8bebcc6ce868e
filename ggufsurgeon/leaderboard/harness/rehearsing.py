"""Scores of made-up answers, before a model answers: documents that cannot be scored are found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from typing import Any

from ggufsurgeon.leaderboard.harness.surroundings import seeded, seeded_language_detection

UNSCORED = "math"
"""Its scorers take seconds for some documents, and catch every exception themselves."""
TEXT = "An answer."
LIKELIHOOD = (-1.0, False)


def rehearse(task: Any, benchmark: str) -> None:
    """Score a made-up answer to each document that a task of the harness has made requests of.

    What the harness raises about a document is raised here, and not when all answers are computed.
    """
    if benchmark == UNSCORED:
        return
    with ExitStack() as stack:
        stack.enter_context(seeded())
        if benchmark == "ifeval":
            stack.enter_context(seeded_language_detection())
        for document, answers in _made_up(task):
            task.process_results(document, answers)


def _made_up(task: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each document with answers to its requests."""
    for _, instances in groupby(task.instances, key=lambda instance: instance.doc_id):
        own = list(instances)
        is_text = own[0].request_type == "generate_until"
        yield own[0].doc, [TEXT if is_text else LIKELIHOOD] * len(own)
