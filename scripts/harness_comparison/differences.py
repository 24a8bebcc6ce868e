"""Pure: how far the answers of two backends of lm-evaluation-harness are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from ggufsurgeon.leaderboard.documents import DocumentKey, TaskScore
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
)

Samples = Sequence[Mapping[str, Any]]
Answers = Mapping[EvaluationRequest, EvaluationAnswer]


class Likelihoods(NamedTuple):
    """Log-likelihoods of a benchmark by both backends."""

    differences: tuple[float, ...]
    """Ours less theirs, in nats, of each request."""
    n_greedy_equal: int
    n_choices_equal: int
    """Documents whose most likely choice is the same."""
    n_documents: int

    @property
    def median(self) -> float:
        """The median of the absolute differences."""
        return median(map(abs, self.differences))

    @property
    def greatest(self) -> float:
        """The greatest absolute difference."""
        return max(map(abs, self.differences))


class TextDifference(NamedTuple):
    """Where two texts part."""

    n_equal: int
    """Characters that they have in common."""
    n_tokens_equal: int
    margin: float
    """How far the logits of the two likeliest tokens are apart there, by the other backend."""


class Texts(NamedTuple):
    """Generated texts of a benchmark by both backends."""

    n_texts: int
    differences: tuple[TextDifference, ...]
    """Of the texts that are not equal."""


def asked_alike(samples: Samples, task: TaskScore) -> bool:
    """Whether the documents of a task, their prompts and their answers are the same."""
    theirs = [
        DocumentKey(one["doc_id"], one["doc_hash"], one["prompt_hash"], one["target_hash"])
        for one in samples
    ]
    return theirs == [document.key for document in task.documents]


def compare_likelihoods(samples: Samples, answers: Answers) -> Likelihoods:
    """Compare what the harness logged of documents with our answers to the same requests.

    Raises KeyError for a request that we have not been asked.
    """
    differences: list[float] = []
    n_greedy_equal = n_choices_equal = 0
    for sample in samples:
        ours = [answers[LikelihoodRequest(*pair)] for pair in sample["arguments"]]
        theirs = [(float(one[0][0]), str(one[0][1]) == "True") for one in sample["resps"]]
        own = [one for one in ours if isinstance(one, LikelihoodAnswer)]
        both = list(zip(own, theirs, strict=True))
        differences += [one.log_likelihood - value for one, (value, _) in both]
        n_greedy_equal += sum(one.is_greedy == is_greedy for one, (_, is_greedy) in both)
        n_choices_equal += _highest([one.log_likelihood for one in own]) == _highest(
            [value for value, _ in theirs]
        )
    return Likelihoods(tuple(differences), n_greedy_equal, n_choices_equal, len(samples))


def compare_texts(
    samples: Samples, answers: Answers, steps: Mapping[str, Sequence[tuple[int, float]]]
) -> Texts:
    """Compare generated texts. `steps` has, by the prompt, the characters of their text after each
    of its tokens, with the distance of the two largest logits."""
    found = list(_text_differences(samples, answers, steps))
    return Texts(len(found), tuple(one for one in found if one is not None))


def _text_differences(
    samples: Samples, answers: Answers, steps: Mapping[str, Sequence[tuple[int, float]]]
) -> Iterator[TextDifference | None]:
    for sample in samples:
        ((context, settings),) = sample["arguments"]
        stops = settings.get("until") or []
        request = GenerationRequest(context, tuple(stops), _limit(answers, context))
        ours = getattr(answers[request], "text", None) or ""
        ((theirs,),) = sample["resps"]
        if ours == theirs:
            yield None
            continue
        n_equal = next(
            (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        step = next((n for n, (length, _) in enumerate(steps[context]) if length > n_equal), -1)
        yield TextDifference(n_equal, step, steps[context][step][1])


def _limit(answers: Answers, context: str) -> int:
    """The most tokens of our request with this prompt: the harness logs what it has changed."""
    return next(
        request.max_tokens
        for request in answers
        if isinstance(request, GenerationRequest) and request.context == context
    )


def _highest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
