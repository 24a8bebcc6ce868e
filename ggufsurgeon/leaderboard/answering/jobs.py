"""The jobs of a leaderboard run: to count the tokens of requests, and to answer them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ggufsurgeon.engine.limits.threads import n_threads_of
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.inference.execution import opened_execution
from ggufsurgeon.leaderboard.answering.along_path import PathRun
from ggufsurgeon.leaderboard.answering.encoding import n_inputs_of
from ggufsurgeon.leaderboard.answering.prepared import prepared_requests
from ggufsurgeon.leaderboard.answering.work import (
    Answered,
    AnswerSettings,
    PathWork,
    RequestTable,
)
from ggufsurgeon.leaderboard.requests import EvaluationRequest
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session


def describe_requests(
    session: Session,
    models: ModelPaths,
    devices: Devices,
    requests: tuple[EvaluationRequest, ...],
    settings: AnswerSettings,
    reporter: Reporter,
) -> RequestTable:
    """The tokens of each request, and how many tokens are run for all of them together.

    Raises UsageError for a model that cannot answer them, or a request that does not fit it.
    """
    sources = models.loaded(session, devices)
    prepared = prepared_requests(session, sources.tokenizer, requests, settings, reporter)
    encoded = prepared.encoded
    n_cut = {index: one.n_cut for index, one in encoded.likelihoods.items()}
    n_cut |= {index: one.n_cut for index, one in encoded.generations.items()}
    return RequestTable(
        encoded.n_ctx,
        tuple(n_inputs_of(encoded, len(requests))),
        tuple(n_cut[index] for index in range(len(requests))),
        sum(unit.n_tokens for unit in (*prepared.likelihoods, *prepared.generations)),
        sum(one.max_tokens for one in encoded.generations.values()),
    )


def answer_requests(
    session: Session,
    models: ModelPaths,
    devices: Devices,
    requests: tuple[EvaluationRequest, ...],
    work: Sequence[PathWork],
    settings: AnswerSettings,
    reporter: Reporter,
) -> None:
    """Answer the requests that are missing along layer paths.

    Tuples of Answered are emitted as they come. Which requests run together depends on all
    requests, not on the missing ones, so answers are rounded alike in a run that resumes. A path
    is aliased, or routed where it cannot be aliased; then each request runs by itself. Raises
    RefusedError for a path that cannot be run exactly, UsageError as `describe_requests`, and
    OutOfMemoryError where the contexts do not fit the devices.
    """
    sources = models.loaded(session, devices)
    prepared = prepared_requests(session, sources.tokenizer, requests, settings, reporter)
    for one in work:
        missing = frozenset(one.missing)
        with (
            opened_execution(sources, one.layer_path) as execution,
            ThreadPoolExecutor(n_threads_of(devices)) as pool,
        ):
            run = PathRun(prepared, execution, missing, pool, reporter.advance)
            reporter.begin(f"answers along {one.layer_path}", run.n_tokens, "tokens")
            for found in run.answers():
                answered = [Answered(one.layer_path, *pair) for pair in found if pair[0] in missing]
                if answered:
                    reporter.emit(tuple(answered))
