"""The jobs of a scan by generated answers: the questions of a probe, and the scores of answers."""

from __future__ import annotations

import codecs
import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.high_level.chat_template import chat_prompt
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.errors import NotFiniteError, UsageError
from ggufsurgeon.inference.execution import Execution, opened_execution
from ggufsurgeon.scanning.jobs.job import ItemTable, Scored, Work
from ggufsurgeon.scanning.probes.answers import AnswerProbe, Question
from ggufsurgeon.scanning.probes.probe import kept_score, probe_errors
from ggufsurgeon.workers.session import Reporter, Session

N_QUESTIONS = 8
"""Questions of a group. A path is aliased once for each group, which takes about 0.1 s."""


class _Prompt(NamedTuple):
    """A question in the tokens of a model."""

    label: str
    tokens: Integers
    max_tokens: int


def list_questions(
    session: Session, model: Path, devices: Devices, probe: AnswerProbe, _: Reporter
) -> ItemTable:
    """The questions of a probe in the tokens of a model. Raises UsageError where they do not fit
    it."""
    prompts = _prompts(session.model(model, devices), probe)
    return ItemTable(
        tuple(prompt.label for prompt in prompts),
        tuple(len(prompt.tokens) for prompt in prompts),
        _sha256(prompts),
        _groups(len(prompts)),
    )


def answers_job(
    session: Session,
    model: Path,
    devices: Devices,
    probe: AnswerProbe,
    work: Sequence[Work],
    reporter: Reporter,
) -> None:
    """Score the answers to groups of questions along layer paths.

    A Scored is emitted for each path of each group. A path is run aliased, or routed where it
    cannot be; raises RefusedError for one that cannot be run exactly.
    """
    loaded = session.model(model, devices)
    prompts = _prompts(loaded, probe)
    for one in work:
        items = _groups(len(prompts))[one.group]
        for path in one.paths:
            start = time.perf_counter()
            with opened_execution(loaded, path) as execution:
                pairs = []
                for index in items:
                    answer = _answer(loaded, execution, prompts[index], reporter)
                    where = f"question {prompts[index].label!r} along {path}"
                    pairs.append(_score(probe, index, answer, where))
            scores, parsed = zip(*pairs, strict=True)
            reporter.emit(Scored(path, items, scores, time.perf_counter() - start, parsed))


def _groups(n_questions: int) -> tuple[range, ...]:
    """The questions of each group, by their indices."""
    firsts = range(0, n_questions, N_QUESTIONS)
    return tuple(range(first, min(first + N_QUESTIONS, n_questions)) for first in firsts)


def _prompts(model: Model, probe: AnswerProbe) -> list[_Prompt]:
    if model.no_text:
        raise UsageError(f"{model.path} cannot answer questions: {model.no_text}")
    with probe_errors(probe.name):
        prompts = [_prompt(model, question) for question in probe.questions()]
    for prompt in prompts:
        where = f"probe {probe.name}: question {prompt.label}"
        n = len(prompt.tokens) + prompt.max_tokens
        if len(prompt.tokens) == 0 or prompt.max_tokens < 1:
            raise UsageError(f"{where} has no tokens, or asks for an answer of none")
        if n > model.n_ctx_train:
            raise UsageError(
                f"{where} and its answer have up to {n} tokens, and {model.path} was trained on "
                f"contexts of {model.n_ctx_train}"
            )
    if len(prompts) < 2:
        raise UsageError(f"probe {probe.name}: {len(prompts)} questions; at least 2 are needed")
    return prompts


def _prompt(model: Model, question: Question) -> _Prompt:
    tokens = chat_prompt(model, question.prompt) if question.is_chat else None
    if tokens is None:
        tokens = model.tokenize(question.prompt.encode())
    return _Prompt(question.label, tokens, question.max_tokens)


def _answer(model: Model, execution: Execution, prompt: _Prompt, reporter: Reporter) -> str | None:
    """The text that follows a prompt, as `generate` has it; None for logits that are no numbers."""
    found = execution.route.generate(prompt.tokens, prompt.max_tokens, Sampling(), reporter)
    try:
        content = b"".join(map(model.text_of, found))
    except NotFiniteError:
        return None
    return codecs.getincrementaldecoder("utf-8")("replace").decode(content)


def _score(probe: AnswerProbe, index: int, answer: str | None, where: str) -> tuple[float, float]:
    """The score of an answer, and 1 if it could be parsed, else 0."""
    if answer is None:
        return math.nan, math.nan
    with probe_errors(probe.name, where):
        score = probe.score(index, answer)
        kept = float(probe.score_of_unparsed if score is None else score)
    return kept_score(kept), float(score is not None)


def _sha256(prompts: Sequence[_Prompt]) -> str:
    """SHA-256 of the labels and tokens of questions, and of the lengths of their answers."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr((prompt.label, prompt.max_tokens, len(prompt.tokens))).encode())
        digest.update(np.ascontiguousarray(prompt.tokens, dtype="<i4").tobytes())
    return digest.hexdigest()
