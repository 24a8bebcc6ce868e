"""The datasets of the benchmarks: from a mirror, or from the Hugging Face Hub and its cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError, WriteFailedError
from ggufsurgeon.leaderboard.harness.benchmarks import Benchmark, TaskData
from ggufsurgeon.leaderboard.harness.mirrors import cache_of_mirror
from ggufsurgeon.progress import Progress

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
"""Errors that keep the cache from being made, if they are about its own folders."""
_LAYOUT = (
    "A mirror has a folder for each benchmark, such as bbh, laid out as the dataset is on the "
    "Hugging Face Hub: data files, and a README.md whose YAML header names configurations and "
    "splits."
)
_LENGTH = 300
"""Characters of an error of `datasets`, which may list some hundred names."""
_NO_MODEL_LOADED = "No model was loaded."


class Source(NamedTuple):
    """The place of the dataset of a benchmark."""

    path: str
    """The folder in a mirror, or the hub's name."""
    settings: dict[str, Any]
    """Further arguments of `datasets.load_dataset`."""


def source_of(benchmark: Benchmark, data: Path | None) -> Source:
    """The dataset of a benchmark in a mirror, or on the hub.

    Raises UsageError for a folder that is not there, or cannot be read, and where a folder of the
    working directory would be taken for the hub's dataset.
    """
    if data is None:
        if Path(benchmark.hub_id).is_dir():
            raise UsageError(
                f"the folder {benchmark.hub_id} in {Path.cwd()} would be taken for the dataset of "
                "that name on the Hugging Face Hub",
                hint="Run from another folder, or use its parent as a mirror: " + _LAYOUT,
            )
        return Source(benchmark.hub_id, {})
    folder = data / benchmark.folder
    if not data.is_dir():
        raise UsageError(f"{data}: there is no such folder of benchmarks", hint=_LAYOUT)
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder, which {benchmark.name} needs", hint=_LAYOUT
        )
    folder = folder.resolve()
    try:
        return Source(str(folder), {"cache_dir": str(cache_of_mirror(folder))})
    except OSError as error:
        where = error.filename or folder
        raise UsageError(f"{where}: cannot be read: {error.strerror or error}") from error


def load_datasets(benchmark: Benchmark, source: Source, progress: Progress) -> dict[str, Any]:
    """The dataset of each task of a benchmark, a `DatasetDict` by split, downloaded if need be.

    Each configuration is loaded once. Raises UsageError for a dataset that cannot be had,
    MalformedFileError for one that is not what the harness reads, WriteFailedError where the copy
    that `datasets` makes cannot be written.
    """
    loaded: dict[str | None, Any] = {}
    for task in benchmark.tasks:
        if task.configuration not in loaded:
            loaded[task.configuration] = _load(benchmark, source, task.configuration)
            progress.advance(1)
        _check(benchmark, task, loaded[task.configuration], _where(source, task.configuration))
    return {task.task: loaded[task.configuration] for task in benchmark.tasks}


def _load(benchmark: Benchmark, source: Source, configuration: str | None) -> Any:
    import datasets

    with clear_errors(benchmark, _where(source, configuration)):
        return datasets.load_dataset(source.path, configuration, **source.settings)


def _where(source: Source, configuration: str | None) -> str:
    return source.path if configuration is None else f"{source.path} ({configuration})"


def _check(benchmark: Benchmark, task: TaskData, dataset: Any, where: str) -> None:
    for split in filter(None, (task.split, benchmark.few_shot_split)):
        if split not in dataset:
            raise MalformedFileError(where, f"has no split {split}, which {task.task} reads")
        _check_columns(benchmark, f"{where}, split {split}", dataset[split])


def _check_columns(benchmark: Benchmark, where: str, documents: Any) -> None:
    if not len(documents):
        raise MalformedFileError(where, "holds no document")
    missing = [name for name in benchmark.columns if name not in documents.column_names]
    if missing:
        raise MalformedFileError(
            where,
            f"has no column {', '.join(missing)}, which {benchmark.name} needs; it has "
            f"{', '.join(documents.column_names)}",
            hint="The dataset may have changed, or be another one.",
        )


@contextmanager
def clear_errors(benchmark: Benchmark, where: str) -> Iterator[None]:
    """Turn what `datasets` and the harness raise about documents into the program's errors."""
    try:
        yield
    except GgufSurgeonError:
        raise
    except Exception as error:
        raise _as_ours(benchmark, where, error) from error


def _as_ours(benchmark: Benchmark, where: str, error: Exception) -> GgufSurgeonError:
    from datasets.exceptions import DatasetNotFoundError

    causes = tuple(_causes(error))
    for cause in causes:
        number = _number_of_unwritable(cause)
        if number is not None:
            return _unwritable(where, number)
    if isinstance(error, DatasetNotFoundError) and "gated" in str(error):
        return _gated(benchmark)
    if any(isinstance(cause, ConnectionError) for cause in causes):
        return _unreachable(benchmark)
    if isinstance(error, DatasetNotFoundError):
        return UsageError(
            f"{benchmark.hub_id}: the dataset of {benchmark.name} is not on the Hugging Face Hub, "
            "or may not be read with this login",
            hint="A mirror of it can be used instead. " + _LAYOUT,
        )
    return MalformedFileError(
        where,
        f"cannot be read as the documents of {benchmark.name}: {_reason(causes[-1])}",
        hint=_LAYOUT,
    )


def _reason(cause: BaseException) -> str:
    """What an error says, in one line that can be read."""
    if isinstance(cause, StopIteration):  # of datasets, where a split is made of nothing
        return "a data file holds no document"
    said = next(iter(str(cause).splitlines()), "")
    if len(said) > _LENGTH:
        said = f"{said[:_LENGTH]}..."
    kind = type(cause).__name__
    if not said:
        return kind
    return f"{kind}: {said}" if isinstance(cause, LookupError) else said


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__


def _number_of_unwritable(error: BaseException) -> int | None:
    """The number of a system error that keeps the cache from being written."""
    if not isinstance(error, OSError):
        return None
    if error.errno is None and "disk space" in str(error):  # before writing (datasets/builder.py)
        return errno.ENOSPC
    if error.errno in _NOT_THERE and _is_about_the_cache(error.filename):
        return error.errno
    return error.errno if error.errno in _UNWRITABLE else None


def _is_about_the_cache(name: str | None) -> bool:
    """Whether a file is in the cache of datasets, or would be above it."""
    from datasets import config

    cache, path = Path(config.HF_DATASETS_CACHE), Path(name or "")
    return bool(name) and (path.is_relative_to(cache) or cache.is_relative_to(path))


def _unwritable(where: str, number: int) -> WriteFailedError:
    from datasets import config

    failed = WriteFailedError(
        f"{where} cannot be copied to the cache of datasets, {config.HF_DATASETS_CACHE}: "
        f"{os.strerror(number)}",
        hint="Let the variable HF_HOME name a folder that can be written, on a disk with room.",
    )
    failed.state = _NO_MODEL_LOADED
    return failed


def _gated(benchmark: Benchmark) -> UsageError:
    return UsageError(
        f"{benchmark.hub_id}: the dataset of {benchmark.name} is available only to users who are "
        "logged in to the Hugging Face Hub and have agreed to its terms",
        hint=f"Agree at huggingface.co/datasets/{benchmark.hub_id}, and log in (hf auth login), or "
        "let the variable HF_TOKEN hold a token. Or leave this benchmark out.",
    )


def _unreachable(benchmark: Benchmark) -> UsageError:
    from datasets import config

    return UsageError(
        f"{benchmark.hub_id}: the dataset of {benchmark.name} is not in the cache, "
        f"{config.HF_DATASETS_CACHE}, and the Hugging Face Hub cannot be reached",
        hint="Run where there is a network, without HF_HUB_OFFLINE, or use a mirror. " + _LAYOUT,
    )
