"""The interface of probes that score generated answers.

Such a probe asks the same questions along each layer path. It is an object that can be pickled: it
is sent to the process that has loaded the model. Answers are generated greedily, with the path as
the patched model runs it, so that the same question has the same answer whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ggufsurgeon.scanning.probes.probe import Probe

PARSED_SUFFIX = " parsed"
"""Behind the name of a probe: the probe, in stores, that says which answers could be parsed."""
PARSED_UNIT = "share of answers"


@dataclass(frozen=True)
class Question:
    """One question of a probe."""

    label: str
    """What reports call it."""
    prompt: str
    max_tokens: int
    """Largest number of tokens of the answer."""
    is_chat: bool = False
    """Whether it is asked by the chat template of the model; as it is where there is none."""


@runtime_checkable
class AnswerProbe(Protocol):
    """Questions to ask along each layer path."""

    name: str
    """A short name, such as `answers`."""
    unit: str
    """The unit of a score, such as `share of right answers`."""
    score_of_unparsed: float
    """The score of an answer that cannot be parsed."""

    def settings(self) -> Mapping[str, Any]:
        """What the scores depend on besides the questions in tokens, as JSON's types."""

    def questions(self) -> Sequence[Question]:
        """The questions, the same at every call."""

    def score(self, index: int, answer: str) -> float | None:
        """The score of an answer to the question of this index; higher is better.

        None where the answer cannot be parsed.
        """

    def constant_score(self) -> float | None:
        """The mean score of the best answer that is the same for all questions, as far as known.

        None where none is known.
        """


AnyProbe: TypeAlias = Probe | AnswerProbe


def constant_score(probe: AnyProbe) -> float | None:
    """What the best constant answer would score; None for probes that ask nothing."""
    return probe.constant_score() if isinstance(probe, AnswerProbe) else None


def mean_score(probe: AnswerProbe, n_questions: int, answer: str) -> float:
    """The mean score of one answer to all questions."""
    scores = [probe.score(index, answer) for index in range(n_questions)]
    return sum(probe.score_of_unparsed if one is None else one for one in scores) / n_questions
