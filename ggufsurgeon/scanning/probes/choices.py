"""The probe of multiple-choice tasks: how much likelier the correct choice is than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.model import Model
from ggufsurgeon.multiple_choice.task_tokens import check_scores_choices, tokenize_task
from ggufsurgeon.multiple_choice.tasks import Task, TaskFormat
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence


@dataclass(frozen=True)
class ChoicesProbe:
    """The log-likelihood of the correct choice, less the highest of the others.

    Above 0 the model chooses right. Log-likelihoods are lm-eval's, as in `choose`.
    """

    tasks: tuple[Task, ...]

    name = "choices"
    unit = "nats"

    def settings(self) -> Mapping[str, Any]:
        """The answers, which the tokens do not tell."""
        return {"answers": [task.answer for task in self.tasks]}

    def items(self, model: Model) -> Sequence[Item]:
        """The tasks, with a sequence for each choice.

        Raises UsageError as `check_scores_choices` and `tokenize_task`.
        """
        check_scores_choices(model)
        return [self._item(model, task) for task in self.tasks]

    def _item(self, model: Model, task: Task) -> Item:
        tokens = tokenize_task(model, task, TaskFormat.JSONL)
        pairs = zip(tokens.sequences, tokens.spans, strict=True)
        return Item(task.id, tuple(TokenSequence(one, first) for one, (first, _) in pairs))

    def score(self, index: int, log_probs: Sequence[npt.NDArray[np.float64]]) -> float:
        """The margin of the correct choice, in nats."""
        sums = [float(values.sum()) for values in log_probs]
        answer = self.tasks[index].answer
        return sums[answer] - max(sums[:answer] + sums[answer + 1 :])
