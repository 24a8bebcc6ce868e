"""A run of the leaderboard: prompts made once, answers along every path, scores of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.devices.options import Devices
from ggufsurgeon.engine.high_level.chat_renderer import ChatRenderer
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.answer_book import AnswerBook
from ggufsurgeon.leaderboard.answering.jobs import answer_requests, describe_requests
from ggufsurgeon.leaderboard.answering.work import Answered, AnswerSettings, PathWork, RequestTable
from ggufsurgeon.leaderboard.documents import TaskScore
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.harness.loading import LoadedTasks, load_tasks
from ggufsurgeon.leaderboard.harness.scoring import check_main_thread, score
from ggufsurgeon.leaderboard.prompting import PLAIN, Prompting
from ggufsurgeon.leaderboard.requests import EvaluationAnswer, EvaluationRequest
from ggufsurgeon.leaderboard.results import LeaderboardResult, PathResult, count_answers
from ggufsurgeon.leaderboard.scores.changes import average_change, changes
from ggufsurgeon.leaderboard.scores.scores import average, figure_scores
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.progress import Progress
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.store.answers import EvaluationKey, KeptAnswers
from ggufsurgeon.store.fingerprint import ModelFingerprint, fingerprint_of_others
from ggufsurgeon.store.machine import this_machine
from ggufsurgeon.store.store import Store, opened_store
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.runner import Runner
from ggufsurgeon.workers.session import Reporter, Session

Answers = Mapping[EvaluationRequest, EvaluationAnswer]


class PathOfModel(NamedTuple):
    """A model along a layer path, which may take blocks of others too."""

    models: ModelPaths
    layer_path: LayerPath


@dataclass(frozen=True)
class LeaderboardTask:
    """What is to be run and compared."""

    base: PathOfModel
    paths: tuple[PathOfModel, ...]
    benchmarks: Sequence[str]
    data: Path | None
    """A mirror of the datasets; None for the Hugging Face Hub or its cache."""
    limit: int | None
    """The first documents of each task; None for all."""
    prompting: Prompting = PLAIN
    settings: AnswerSettings = field(default_factory=AnswerSettings)
    devices: Devices = field(default_factory=Devices)

    def paths_by_models(self) -> dict[ModelPaths, list[LayerPath]]:
        """The distinct layer paths of each model, or of several together, the base first."""
        found: dict[ModelPaths, dict[LayerPath, None]] = {}
        for models, layer_path in (self.base, *self.paths):
            found.setdefault(models, {})[layer_path] = None
        return {models: list(layer_paths) for models, layer_paths in found.items()}


class RunSize(NamedTuple):
    """How much work a model has, known before it answers."""

    model: Path
    n_documents: int
    n_on_leaderboard: int
    """Documents of the same tasks on the leaderboard."""
    n_paths: int
    n_missing: int
    """Answers that are not in the store, of all paths together."""
    table: RequestTable
    leaves_out_system: bool
    """Whether the chat template accepts no system message: task descriptions are left out."""


def run_leaderboard(
    task: LeaderboardTask,
    runner: Runner,
    store: Path | None,
    progress: Progress,
    on_size: Callable[[RunSize], object] | None = None,
) -> LeaderboardResult:
    """Make prompts, answer and score them. Answers in the store at `store` are not computed again.

    Raises RefusedError for a path that cannot be run exactly, before prompts are made, UsageError
    in another thread than the main one, and what `load_tasks`, `collect`, the jobs and the store
    raise.
    """
    check_main_thread()
    for one in task.paths:
        _check_runs(one)
    tasks = load_tasks(task.benchmarks, task.data, task.limit, progress)
    requests = collect(tasks, task.prompting, progress)
    answers: dict[PathOfModel, Answers] = {}
    with _opened(store) as opened:
        run = _AnswerRun(task, tasks, requests, runner, opened, progress, on_size)
        for models, layer_paths in task.paths_by_models().items():
            book = run.answered(models, layer_paths)
            for path in layer_paths:
                answers[PathOfModel(models, path)] = book.answers(str(path))
    scored = {of: score(tasks, found, task.prompting, progress) for of, found in answers.items()}
    return _result(task, scored, answers, len(requests))


def _check_runs(one: PathOfModel) -> None:
    """Raise RefusedError for a path that can be run neither aliased nor routed."""
    file, *others = (open_gguf(path) for path in one.models.all)
    try:
        plan_patch(file, one.layer_path, others=others, outside=one.models.outside)
    except RefusedError:
        if others:
            raise
        ModelRules(file, find_blocks(file)).check_routing(one.layer_path)


class _AnswerRun(NamedTuple):
    """What answering needs for each model."""

    task: LeaderboardTask
    tasks: LoadedTasks
    requests: tuple[EvaluationRequest, ...]
    runner: Runner
    store: Store | None
    progress: Progress
    on_size: Callable[[RunSize], object] | None

    def answered(self, models: ModelPaths, layer_paths: Sequence[LayerPath]) -> AnswerBook:
        """The answers of models along layer paths. They are loaded only if some are missing."""
        book = AnswerBook(self.requests, self._kept(models))
        work = [PathWork(one, book.missing(str(one))) for one in layer_paths]
        work = [one for one in work if one.missing]
        if work:
            self._answer(models, len(layer_paths), work, book)
        return book

    def _kept(self, models: ModelPaths) -> KeptAnswers | None:
        """The store's answers of models, under a key of all that its answers depend on.

        Prompts are part of a request, and so is what a chat template has made of them.
        """
        if self.store is None:
            return None
        settings = asdict(self.task.settings) | {"devices": self.task.devices.as_settings()}
        settings |= fingerprint_of_others(models)
        machine = this_machine(self.runner)
        model = ModelFingerprint.of(models.first)
        return self.store.answers(EvaluationKey(model, machine, settings))

    def _answer(
        self, models: ModelPaths, n_paths: int, work: list[PathWork], book: AnswerBook
    ) -> None:
        over = models, self.task.devices, self.requests
        settings = self.task.settings
        table = self.runner.run(describe_requests, *over, settings, progress=self.progress)
        if self.on_size is not None:
            self.on_size(self._size(models.first, n_paths, work, table))

        def take(found: Sequence[Answered]) -> None:
            for one in found:
                book.add(str(one.layer_path), one.number, one.answer)

        with book.taking():
            self.runner.run(
                answer_requests, *over, work, settings, progress=self.progress, on_result=take
            )
        if len(self.task.paths_by_models()) > 1:  # the next ones may not fit beside them
            self.runner.run(_release, models)

    def _size(
        self, model: Path, n_paths: int, work: Sequence[PathWork], table: RequestTable
    ) -> RunSize:
        n_documents = sum(one.n_documents for one in self.tasks.tasks)
        n_on_leaderboard = sum(one.n_on_leaderboard for one in self.tasks.tasks)
        n_missing = sum(len(one.missing) for one in work)
        chat = self.task.prompting.chat
        return RunSize(
            model,
            n_documents,
            n_on_leaderboard,
            n_paths,
            n_missing,
            table,
            isinstance(chat, ChatRenderer) and chat.leaves_out_system,
        )


@contextmanager
def _opened(store: Path | None) -> Iterator[Store | None]:
    if store is None:
        yield None
        return
    with opened_store(store) as opened:
        yield opened


def _release(session: Session, models: ModelPaths, _reporter: Reporter) -> None:
    """A job that frees models."""
    for path in models.all:
        session.release(path)


def _result(
    task: LeaderboardTask,
    scored: Mapping[PathOfModel, Sequence[TaskScore]],
    answers: Mapping[PathOfModel, Answers],
    n_requests: int,
) -> LeaderboardResult:
    judged = changes(scored[task.base], [scored[one] for one in task.paths])
    base = _path_result(task.base, scored, answers)
    paths = []
    for one, changed in zip(task.paths, judged.of_paths, strict=True):
        of_average = average_change(changed, base.scores)
        found = _path_result(one, scored, answers)
        paths.append(replace(found, changes=changed, average_change=of_average))
    return LeaderboardResult(base, tuple(paths), judged.bar, task.limit, n_requests)


def _path_result(
    one: PathOfModel,
    scored: Mapping[PathOfModel, Sequence[TaskScore]],
    answers: Mapping[PathOfModel, Answers],
) -> PathResult:
    scores = figure_scores(scored[one])
    counts = count_answers(answers[one].values())
    return PathResult(one.models.first, str(one.layer_path), scores, average(scores), counts)
