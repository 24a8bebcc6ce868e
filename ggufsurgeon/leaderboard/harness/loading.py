"""The harness' own tasks of the leaderboard, loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.harness.benchmarks import Benchmark, TaskData, benchmarks_of
from ggufsurgeon.leaderboard.harness.network import is_offline, without_waiting_for_the_hub
from ggufsurgeon.leaderboard.harness.requirements import check_packages, check_sentence_splitter
from ggufsurgeon.leaderboard.harness.sources import clear_errors, load_datasets, source_of
from ggufsurgeon.leaderboard.harness.surroundings import nothing_cached, quiet, seeded
from ggufsurgeon.progress import NO_PROGRESS, Progress

FEW_SHOT_SEED = 1234
"""`fewshot_random_seed` of the harness' `simple_evaluate`."""


@dataclass(frozen=True)
class HarnessTask:
    """A task of the harness with its documents."""

    name: str
    """The harness' name, such as `leaderboard_bbh_navigate`."""
    benchmark: str
    """The benchmark it belongs to, such as `bbh`."""
    version: str
    """The harness' version of the task."""
    n_documents: int
    """Documents that are evaluated: all those of the data, or as many as the limit allows."""
    n_in_data: int
    """Documents in the data."""
    n_on_leaderboard: int
    """Documents that the leaderboard evaluated."""
    task: Any
    """The harness' object."""
    where: str
    """The dataset: a folder of a mirror, or the hub's name."""

    @property
    def limit(self) -> int | None:
        """The harness' limit: the first documents that are asked; None for all."""
        return None if self.n_documents == self.n_in_data else self.n_documents

    def clear_errors(self) -> AbstractContextManager[None]:
        """Turn what the harness raises about its documents into MalformedFileError."""
        (benchmark,) = benchmarks_of([self.benchmark])
        return clear_errors(benchmark, f"{self.where}, {self.name}")


@dataclass(frozen=True)
class LoadedTasks:
    """Tasks of the harness, and how many documents of each are evaluated."""

    tasks: tuple[HarnessTask, ...]
    limit: int | None
    """How many documents of each task are evaluated, from the first; None for all."""

    @property
    def is_complete(self) -> bool:
        """Whether as many documents are evaluated as the leaderboard evaluated."""
        return all(task.n_documents == task.n_on_leaderboard for task in self.tasks)

    @property
    def differing_in_number(self) -> tuple[HarnessTask, ...]:
        """Tasks whose data hold another number of documents than the leaderboard's: a sample, or
        a dataset that has changed."""
        return tuple(task for task in self.tasks if task.n_in_data != task.n_on_leaderboard)


def load_tasks(
    benchmarks: Sequence[str],
    data: Path | None = None,
    limit: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> LoadedTasks:
    """Load the tasks of some benchmarks, after checking all that running and scoring them needs.

    `data` is a mirror, a folder with a folder for each benchmark; None takes the datasets from the
    Hugging Face Hub or its cache, and honours HF_HUB_OFFLINE. `limit` is the harness': the first
    documents of each task. The choices of GPQA are shuffled once, as the harness does after
    `random.seed(0)` and with nothing in its cache, so that prompts and answers agree.

    Raises UsageError for names and data that are not there, MissingExtraError without the harness,
    MalformedFileError for data that are not what it reads, WriteFailedError where the copies that
    `datasets` makes cannot be written.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} documents: the least is 1")
    chosen = benchmarks_of(benchmarks)
    check_packages(chosen)
    if any(benchmark.name == "ifeval" for benchmark in chosen):
        check_sentence_splitter(is_offline())
    with quiet():
        if data is not None:
            return _loaded(chosen, data, limit, progress)
        with without_waiting_for_the_hub():
            return _loaded(chosen, data, limit, progress)


def _loaded(
    benchmarks: Sequence[Benchmark], data: Path | None, limit: int | None, progress: Progress
) -> LoadedTasks:
    n_parts = sum(benchmark.n_configurations for benchmark in benchmarks)
    progress.begin("reading benchmarks", n_parts, "datasets")
    tasks = []
    for benchmark in benchmarks:
        source = source_of(benchmark, data)
        datasets = load_datasets(benchmark, source, progress)
        with clear_errors(benchmark, source.path), seeded():
            objects = _harness_objects(benchmark, datasets)
        tasks += [
            _wrapped(benchmark, task, objects[task.task], limit, source.path)
            for task in benchmark.tasks
        ]
    return LoadedTasks(tuple(tasks), limit)


def _harness_objects(benchmark: Benchmark, datasets: Mapping[str, Any]) -> dict[str, Any]:
    """The harness' tasks of a benchmark, made in its order, by name.

    The harness replaces settings of tasks that it has only for members of a group, so it is given
    one of our own.
    """
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.tasks.__file__).parent / "leaderboard"
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    members: list[dict[str, Any]] = [
        {"task": name, "custom_dataset": _given(dataset)} for name, dataset in datasets.items()
    ]
    if benchmark.name == "gpqa":
        from lm_eval.tasks.leaderboard.gpqa.utils import process_docs

        members = [{**member, "process_docs": _once(process_docs)} for member in members]
    loaded = manager.load({"group": f"{benchmark.name} of the leaderboard", "task": members})
    objects: dict[str, Any] = loaded["tasks"]
    for task in objects.values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=FEW_SHOT_SEED)
    return objects


def _given(dataset: Any) -> Callable[..., Any]:
    """A function that the harness calls for the dataset of a task, with the task's metadata."""

    def given(**_metadata: Any) -> Any:
        return dataset

    return given


def _once(process_docs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that processes documents when it is first called, and remembers them.

    The harness processes the documents of a task each time it reads them. GPQA's choices are
    shuffled there: without the cache of `datasets` each reading would shuffle anew, and with it
    an older shuffle may be read.
    """
    kept: list[Any] = []

    def processed(documents: Any) -> Any:
        if not kept:
            with nothing_cached():
                kept.append(process_docs(documents))
        return kept[0]

    return processed


def _wrapped(
    benchmark: Benchmark, data: TaskData, task: Any, limit: int | None, where: str
) -> HarnessTask:
    n_in_data = len(task.eval_docs)
    return HarnessTask(
        data.task,
        benchmark.name,
        str(task.VERSION),
        n_in_data if limit is None else min(limit, n_in_data),
        n_in_data,
        data.n_documents,
        task,
        where,
    )
