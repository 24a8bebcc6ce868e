"""Findings to figures, as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ggufsurgeon.scoring.jobs import News, Outcome
from ggufsurgeon.scoring.perplexity import Perplexity, estimate
from ggufsurgeon.scoring.task import Side, Task
from ggufsurgeon.statistics.divergence import LEAST_SCORED, Divergence, estimate_divergence
from ggufsurgeon.statistics.figures import exponential
from ggufsurgeon.statistics.scores import Findings, Values, joined


@dataclass(frozen=True)
class Measured:
    """A model on a text, and against a base if there is one."""

    perplexity: Perplexity
    base: Perplexity | None = None
    """Of the base, on the same tokens; of a base file, by its rows."""
    divergence: Divergence | None = None
    layer_path: str = ""
    """Along which the model was run; empty for the model as it is."""
    base_layer_path: str = ""


class Mean:
    """Of all values added, at least one."""

    def __init__(self) -> None:
        self.n = 0
        self._sum = 0.0

    def add(self, values: Values) -> None:
        """Take in some more."""
        self.n += values.size
        self._sum += float(values.sum())

    @property
    def value(self) -> float:
        """So far."""
        return self._sum / self.n


class Known:
    """What is known of a task: from earlier runs, and as this one goes on."""

    def __init__(self, task: Task, earlier: Findings | None) -> None:
        self._task = task
        self._parts: list[Findings] = []
        self._loss, self._kl = Mean(), Mean()
        if earlier is not None:
            self._append(earlier)
        self._n_new = 0
        self._n_chunks_in_all = 0
        self._seconds = 0.0

    @property
    def n_chunks(self) -> int:
        """How many chunks are known."""
        return sum(len(part.losses) for part in self._parts)

    @property
    def note(self) -> str:
        """The running estimate, in a few words."""
        note = f"perplexity {exponential(self._loss.value):.4f}"
        return f"{note}, KL divergence {self._kl.value:.4f}" if self._kl.n else note

    def add(self, news: News) -> None:
        """Take in the next chunks."""
        self._append(news.findings)
        self._n_new += len(news.findings.losses)
        self._n_chunks_in_all = news.n_chunks
        self.spend(news)

    def _append(self, findings: Findings) -> None:
        self._parts.append(findings)
        self._loss.add(findings.losses)
        if findings.compared is not None:
            self._kl.add(findings.compared.kl)

    def spend(self, news: News) -> None:
        """Count the time alone: a base that is run by itself takes its part."""
        self._seconds += news.seconds

    def measured(self, outcome: Outcome | None = None) -> Measured:
        """The figures over what is known; `outcome` is of a run that came to its end."""
        found = joined(self._parts)
        n_in_all = outcome.n_chunks if outcome else self._n_chunks_in_all
        settings, compared = self._task.settings, found.compared
        own = estimate(found.losses, settings, n_in_all, self._n_new, self._seconds)
        base = None
        if found.base_losses is not None:
            base = estimate(found.base_losses, settings, n_in_all, self._n_new, self._seconds)
        elif compared is not None:  # of a file, which took no time
            base = estimate(compared.base_losses.astype(np.float64), settings, n_in_all, 0, 0.0)
        if outcome is not None:
            own = replace(own, devices=outcome.devices)
            base = base and replace(base, devices=outcome.base_devices)
        is_enough = found.losses.size >= LEAST_SCORED
        return Measured(
            own,
            base,
            estimate_divergence(compared) if compared is not None and is_enough else None,
            _path_text(self._task.side),
            _path_text(self._task.base),
        )


def _path_text(side: Side | None) -> str:
    return "" if side is None or side.layer_path is None else str(side.layer_path)
