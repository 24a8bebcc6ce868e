"""What is sent to a worker of an executor: a job, its arguments, and what they need there."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ggufsurgeon.errors import UsageError
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.machine import Machine


class NeededModel(NamedTuple):
    """A model file that a worker must have."""

    path: Path
    """Where the caller has it."""
    fingerprint: ModelFingerprint
    content_sha256: str | None = None
    """SHA-256 of the whole file, to be compared with that of the worker's; None to compare none."""

    @classmethod
    def of(cls, path: Path, content_sha256: str | None = None) -> NeededModel:
        """The model at a path here. Raises as `ModelFingerprint.of`."""
        return cls(path, ModelFingerprint.of(path), content_sha256)


class Request(NamedTuple):
    """A job with its arguments, in the form in which they are sent."""

    owner: str
    """The runner that sends it: workers keep its models loaded until it has ended."""
    models: tuple[NeededModel, ...]
    machine: Machine | None
    """The machine that its results are of; None for any."""
    shared_sha256: str
    shared: bytes | None
    """The job and the arguments that many requests have, by `packed`; None where the worker is
    expected to have them from another request."""
    own: bytes
    """The other arguments, by `packed`."""


class Reply(NamedTuple):
    """What a job gave."""

    results: tuple[Any, ...]
    """What it emitted, in order."""
    value: Any
    """What it returned."""


class _ModelPickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, paths: Sequence[Path]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._paths = paths

    def persistent_id(self, value: Any) -> int | None:
        if isinstance(value, Path) and value in self._paths:
            return self._paths.index(value)
        return None


class _ModelUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, paths: Sequence[Path]) -> None:
        super().__init__(file)
        self._paths = paths

    def persistent_load(self, number: int) -> Path:
        return self._paths[number]


def packed(value: Any, paths: Sequence[Path]) -> bytes:
    """A pickle, in which these paths stand for models wherever they are in the value.

    Raises UsageError for what cannot be pickled.
    """
    file = io.BytesIO()
    try:
        _ModelPickler(file, paths).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"a job cannot be sent to workers: {error}",
            hint="A job is a function at the top of a module, and its arguments are values.",
        ) from error
    return file.getvalue()


def unpacked(content: bytes, paths: Sequence[Path]) -> Any:
    """The value of `packed`, with other paths for the same models. Raises what pickle raises."""
    return _ModelUnpickler(io.BytesIO(content), paths).load()


def packed_job(
    job: Callable[..., Any], arguments: Sequence[Any], paths: Sequence[Path]
) -> tuple[str, bytes]:
    """The SHA-256 and the pickle of a job with the arguments that many requests have."""
    content = packed((job, tuple(arguments)), paths)
    return hashlib.sha256(content).hexdigest(), content
