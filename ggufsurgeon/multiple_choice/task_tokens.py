"""Tasks to tokens: a sequence for each choice, and which of its tokens are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.llama_perplexity.winogrande import Span, scored_spans
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat


class TaskTokens(NamedTuple):
    """The choices of a task as tokens, each with the text around it."""

    sequences: Sequence[Integers]
    """Token ids of each choice, int32 [n_tokens], with BOS where the model adds one."""
    spans: Sequence[Span]
    """The scored tokens of each sequence."""

    @property
    def n_common(self) -> int:
        """The number of tokens that all sequences begin with."""
        return n_common(self.sequences)


def check_scores_choices(model: Model) -> None:
    """Raise UsageError for a model that does not continue texts."""
    if model.no_text:
        raise UsageError(f"{model.path} cannot score choices: {model.no_text}")
    if model.adds_eos:
        raise UsageError(
            f"{model.path} cannot score choices: its tokenizer ends every text with EOS"
        )


def tokenize_task(model: Model, task: Task, task_format: TaskFormat) -> TaskTokens:
    """The tokens of a task. Raises UsageError when a choice has no tokens to score."""
    if task_format is TaskFormat.JSONL:
        found = _after_question(model, task)
    elif task_format is TaskFormat.WINOGRANDE:
        found = _after_choice(model, task)
    else:
        found = _after_common_prefix(model, task)
    for choice, (first, end) in zip(task.choices, found.spans, strict=True):
        if not 0 < first < end:
            raise UsageError(
                f"task {task.id}: choice {choice!r} has no distinguishing tokens in the "
                f"vocabulary of {model.path}",
                hint="Remove the task from the file: there is nothing to compare.",
            )
    return found


def n_common(sequences: Sequence[Integers]) -> int:
    """The number of tokens that all sequences begin with."""
    n = min(map(len, sequences))
    is_equal = np.all([tokens[:n] == sequences[0][:n] for tokens in sequences], axis=0)
    return n if is_equal.all() else int(is_equal.argmin())


def _after_question(model: Model, task: Task) -> TaskTokens:
    """Scores the tokens of a choice, as lm-eval does.

    The scored tokens are those after as many as the question alone has (`_encode_pair` in
    lm_eval/api/model.py).
    """
    texts = [_context_and_choice(task.question, choice) for choice in task.choices]
    sequences = [_tokens(model, context + choice) for context, choice in texts]
    firsts = [len(_tokens(model, context)) for context, _ in texts]
    return TaskTokens(sequences, list(zip(firsts, map(len, sequences), strict=True)))


def _context_and_choice(question: str, choice: str) -> tuple[str, str]:
    """The text before the scored text, and that. Spaces that end a question belong to the choice.

    One space is put between them where there is no white space.
    """
    context = question.rstrip()
    space = question[len(context) :]
    if not space and not choice[0].isspace():
        space = " "
    return context, space + choice


def _after_choice(model: Model, task: Task) -> TaskTokens:
    """Scores what follows a choice in a winogrande sentence, as llama-perplexity does."""
    begun = [task.question + choice for choice in task.choices]
    sequences = [_tokens(model, text + task.rest) for text in begun]
    n_begun = [len(_tokens(model, text)) for text in begun]
    lengths = list(map(len, sequences))
    return TaskTokens(sequences, scored_spans(lengths, n_common(sequences), n_begun))


def _after_common_prefix(model: Model, task: Task) -> TaskTokens:
    """Scores all tokens from the first that differs between choices, as llama-perplexity does.

    tools/perplexity/perplexity.cpp:806-821 (hellaswag) and 1343-1364 (multiple choice) in llama.cpp
    of 2026-10-01.
    """
    sequences = [_tokens(model, f"{task.question} {choice}") for choice in task.choices]
    first = n_common(sequences)
    return TaskTokens(sequences, [(first, len(tokens)) for tokens in sequences])


def _tokens(model: Model, text: str) -> Integers:
    return model.tokenize(text.encode())
