"""Log-likelihoods of choices and their normalisation, as each format defines them."""

from __future__ import annotations

from ggufsurgeon.engine.context import Integers, Results
from ggufsurgeon.llama_perplexity import task_scores
from ggufsurgeon.llama_perplexity.softmax import losses_of
from ggufsurgeon.multiple_choice.tasks import TaskFormat


def log_likelihood(logits: Results, targets: Integers, task_format: TaskFormat) -> float:
    """The sum of the log-probabilities of `targets` [n] by logits [n, n_vocab], in nats.

    Of JSONL in 64 bits, of the other formats as llama-perplexity rounds it.
    """
    if task_format is TaskFormat.JSONL:
        return -float(losses_of(logits, targets).sum())
    first_is_exact = task_format is not TaskFormat.WINOGRANDE
    return task_scores.log_likelihood(logits, targets, first_is_exact=first_is_exact)


def normalised(value: float, choice: str, n_scored: int, task_format: TaskFormat) -> float:
    """A log-likelihood per unit of length.

    Of JSONL per character of the choice, as lm-eval's acc_norm (`process_results` of
    lm_eval/api/task.py), of the other formats per scored token, as llama-perplexity.
    """
    if task_format is TaskFormat.JSONL:
        return value / len(choice)
    return task_scores.mean_of_tokens(value, n_scored)
