"""Inputs and outputs of the jobs: settings, work, answers, and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.requests import EvaluationAnswer


@dataclass(frozen=True)
class AnswerSettings:
    """All that answers depend on besides the model, its devices, the path and the requests."""

    n_ctx: int | None = None
    """Maximum number of tokens of a prompt with its answer; longer prompts lose their beginning. It
    is limited to the training context of the model, which None stands for."""
    n_parallel: int = 8
    """Texts that are generated at once. It affects how results are rounded, and the memory."""


class PathWork(NamedTuple):
    """Requests to answer along one layer path."""

    layer_path: LayerPath
    missing: tuple[int, ...]
    """Their places among all requests, from 0."""


class Answered(NamedTuple):
    """The answer to one request along one layer path."""

    layer_path: LayerPath
    number: int
    """The place of the request among all requests, from 0."""
    answer: EvaluationAnswer


class RequestTable(NamedTuple):
    """What requests cost a model, before it has answered any."""

    n_ctx: int
    """Maximum number of tokens of a prompt with its answer."""
    n_tokens: tuple[int, ...]
    """Tokens of each request that are run if it is answered by itself, from its beginning."""
    n_cut: tuple[int, ...]
    """Tokens that each prompt loses at its beginning, since the context is shorter."""
    n_run: int
    """Tokens that are run for all prompts along one path; shared prefixes are counted once."""
    n_most_generated: int
    """Maximum number of tokens that are generated along one path."""

    @property
    def n_requests_cut(self) -> int:
        """Requests whose prompts lose their beginning."""
        return sum(n > 0 for n in self.n_cut)
