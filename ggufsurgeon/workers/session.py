"""The models that one process keeps loaded, and the reporter that its jobs are given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.progress import Progress


class Reporter(Progress, Protocol):
    """Takes the progress of a job and its results as they come."""

    def emit(self, result: Any) -> None:
        """Pass a partial result to the caller of the job."""


class Session:
    """Loaded models by path and devices. A model is loaded when a job first asks for it.

    `on_suspect` is called with the path of a file before llama.cpp loads it, makes a context of it
    or runs it for the first time, and with None once that has succeeded: when the process dies in
    between, the file is to blame.
    """

    def __init__(self, on_suspect: Callable[[Path | None], None] | None = None) -> None:
        self._on_suspect = on_suspect or (lambda _path: None)
        self._loaded: dict[tuple[Path, Devices], tuple[Model, ExitStack]] = {}
        self._is_closed = False
        self.kept: dict[str, Any] = {}
        """Objects that a job keeps for later ones, by name. They are forgotten when a model is
        freed, which frees the native contexts of it too."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        for key in list(self._loaded):
            self._free(key)

    def model(self, path: Path, options: Devices) -> Model:
        """The model at `path` on these devices.

        Raises UsageError once the session is closed, and what `loaded_model` raises.
        """
        if self._is_closed:
            raise UsageError("the session is closed: use it within its `with` block")
        key = (path, options)
        if key not in self._loaded:
            self._loaded[key] = self._load(path, options)
        return self._loaded[key][0]

    def _load(self, path: Path, options: Devices) -> tuple[Model, ExitStack]:
        stack = ExitStack()
        llama_cpp()  # where the library itself crashes, no file is to blame
        self._on_suspect(path)
        try:
            model = stack.enter_context(loaded_model(path, options))
        finally:
            self._on_suspect(None)
        model.on_suspect = self._on_suspect
        return model, stack

    def release(self, path: Path) -> None:
        """Free the models that were loaded from `path`, and their contexts."""
        for key in [key for key in self._loaded if key[0] == path]:
            self._free(key)

    def _free(self, key: tuple[Path, Devices]) -> None:
        self.kept.clear()
        _, stack = self._loaded.pop(key)
        stack.close()
