"""A task as rows of tokens: what its choices share runs once, and which logits tell each apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ggufsurgeon.engine.context import Flags, Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat

Span: TypeAlias = tuple[int, int]
"""The tokens of a sequence that are scored: from, and up to but not including."""

MIN_TRAILING = 3
"""With no more tokens than this where the choices differ, winogrande scores them too
(`k_min_trailing_ctx`, tools/perplexity/perplexity.cpp:1086)."""


class Reading(NamedTuple):
    """The scored tokens of a choice, and the rows whose logits predict them; [n_scored]."""

    rows: Integers
    targets: Integers


class PackedTask(NamedTuple):
    """Shared tokens first, then the rest of each sequence; [n_rows] but for the last."""

    tokens: Integers
    positions: Integers
    sequences: Integers
    """The sequence a row is in, or the first of those that share it."""
    n_sharing: Integers
    wanted: Flags
    readings: tuple[Reading, ...]
    """For each choice; rows are counted among the wanted ones."""

    @property
    def n_sequences(self) -> int:
        """One for each choice."""
        return len(self.readings)

    def rows_of(self, sequence: int) -> Flags:
        """The rows of one sequence, in order."""
        first: Integers = self.sequences
        found: Flags = (first <= sequence) & (sequence < first + self.n_sharing)
        return found


def pack(model: Model, task: Task, task_format: TaskFormat) -> PackedTask:
    """The rows of a task. Raises UsageError when a choice has no tokens to score."""
    if task_format is TaskFormat.JSONL:
        texts = [_joined(task.question, choice) for choice in task.choices]
        sequences = [model.tokenize((before + after).encode()) for before, after in texts]
        n_before = [len(model.tokenize(before.encode())) for before, _ in texts]
        spans = [(n, len(tokens)) for n, tokens in zip(n_before, sequences, strict=True)]
    elif task_format is TaskFormat.WINOGRANDE:
        begun = [task.question + choice for choice in task.choices]
        sequences = [model.tokenize((text + task.rest).encode()) for text in begun]
        spans = _winogrande_spans(sequences, [len(model.tokenize(t.encode())) for t in begun])
    else:
        begun = [f"{task.question} {choice}" for choice in task.choices]
        sequences = [model.tokenize(text.encode()) for text in begun]
        n_shared = n_common(sequences)
        spans = [(n_shared, len(tokens)) for tokens in sequences]
    for choice, (first, end) in zip(task.choices, spans, strict=True):
        if not 0 < first < end:
            raise UsageError(
                f"task {task.id}: {model.path} has no tokens to tell {choice!r} from the others by",
                hint="Take the task out of the file: there is nothing to compare.",
            )
    return arrange(sequences, spans, 0 if model.has_state else n_common(sequences), task_format)


def _joined(question: str, choice: str) -> tuple[str, str]:
    """Text before and text to score. Spaces at the end of a question belong to the choice."""
    before = question.rstrip()
    space = question[len(before) :]
    if not space and not choice[0].isspace():
        space = " "
    return before, space + choice


def n_common(sequences: Sequence[Integers]) -> int:
    """How many tokens all sequences begin with."""
    n = min(map(len, sequences))
    alike = np.all([tokens[:n] == sequences[0][:n] for tokens in sequences], axis=0)
    return n if alike.all() else int(alike.argmin())


def _winogrande_spans(sequences: Sequence[Integers], n_begun: Sequence[int]) -> list[Span]:
    """What follows the choice; where that is short, the choice too (perplexity.cpp:1216-1233).

    The last token, a full stop as a rule, counts only where it is alone.
    """
    n_shared = n_common(sequences)
    if min(map(len, sequences)) - n_shared <= MIN_TRAILING:
        n_begun = [n_shared] * len(sequences)
    ends = [max(len(tokens) - 1, n + 1) for tokens, n in zip(sequences, n_begun, strict=True)]
    return [(n, min(end, len(s))) for n, end, s in zip(n_begun, ends, sequences, strict=True)]


def arrange(
    sequences: Sequence[Integers], spans: Sequence[Span], n_shared: int, task_format: TaskFormat
) -> PackedTask:
    """The rows of sequences whose first `n_shared` tokens run once."""
    n_own = [len(tokens) - n_shared for tokens in sequences]
    starts = n_shared + np.concatenate([[0], np.cumsum(n_own)[:-1]])
    rows = []
    for (first, end), start in zip(spans, starts, strict=True):
        at = np.arange(first - 1, end - 1)
        rows.append(np.where(at < n_shared, at, start + at - n_shared))
    wanted = np.zeros(n_shared + sum(n_own), dtype=np.bool_)
    if task_format is TaskFormat.WINOGRANDE:
        _as_winogrande(rows, wanted, sequences, spans, n_shared)
    wanted[np.concatenate(rows)] = True
    place = np.cumsum(wanted, dtype=np.int32) - 1
    scored = (tokens[slice(*span)] for tokens, span in zip(sequences, spans, strict=True))
    owners = [0, *range(len(sequences))]
    positions = [np.arange(n_shared), *(n_shared + np.arange(n) for n in n_own)]
    return PackedTask(
        tokens=np.concatenate([sequences[0][:n_shared], *(s[n_shared:] for s in sequences)]),
        positions=np.concatenate(positions).astype(np.int32),
        sequences=np.repeat(owners, [n_shared, *n_own]).astype(np.int32),
        n_sharing=np.repeat([len(sequences), 1], [n_shared, sum(n_own)]).astype(np.int32),
        wanted=wanted,
        readings=tuple(
            Reading(place[at], targets) for at, targets in zip(rows, scored, strict=True)
        ),
    )


def _as_winogrande(
    rows: list[Integers],
    wanted: Flags,
    sequences: Sequence[Integers],
    spans: Sequence[Span],
    n_shared: int,
) -> None:
    """What llama-perplexity does besides, for scores that compare with published ones."""
    # It asks for all rows, and how many are asked for changes rounding.
    wanted[max(n_shared - 1, 0) :] = True
    if spans[1][0] == n_common(sequences):
        # Its own FIXME (:1228): the second choice's first token is read from the row that ends
        # the first sentence.
        rows[1][0] = len(sequences[0]) - 1
