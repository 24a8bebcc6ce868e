"""The copies of a model on other machines: by its path, or by its fingerprint in given folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ggufsurgeon.clusters.requests import NeededModel
from ggufsurgeon.container.shards import siblings
from ggufsurgeon.errors import GgufSurgeonError, UnfitWorkerError
from ggufsurgeon.hashing.whole_file import content_sha256
from ggufsurgeon.store.fingerprint import ModelFingerprint

FOLDERS = "GGUFSURGEON_MODELS"
"""Environment variable of a worker: folders with models, separated as in PATH."""

_Status = tuple[int, int, int]


class ModelCopies:
    """Finds the same models on this machine, and remembers what files were as long as they stay."""

    def __init__(self) -> None:
        self._fingerprints: dict[tuple[Path, _Status], ModelFingerprint] = {}
        self._contents: dict[tuple[Path, _Status], str] = {}

    def find(self, model: NeededModel) -> Path:
        """The file of a model here: at the caller's path, or in the folders of FOLDERS.

        Raises UnfitWorkerError where it is in neither.
        """
        is_there = model.path.is_file()
        if is_there and self._is_it(model.path, model):
            return model.path
        for path in _candidates(model):
            if self._is_it(path, model):
                return path
        found = "is another model file" if is_there else "is not there"
        raise UnfitWorkerError(
            f"{model.path} {found}, and no folder of {FOLDERS} has the same model",
            hint=f"Put the model at the same path on every machine, or set {FOLDERS}, in the "
            "environment of the workers, to the folders that contain it.",
        )

    def _is_it(self, path: Path, model: NeededModel) -> bool:
        try:
            key = path, _status(path)
            if key not in self._fingerprints:
                self._fingerprints[key] = ModelFingerprint.of(path)
            if self._fingerprints[key] != model.fingerprint:
                return False
            if model.content_sha256 is None:
                return True
            if key not in self._contents:
                self._contents[key] = content_sha256(path)
            return self._contents[key] == model.content_sha256
        except (GgufSurgeonError, OSError):
            return False


def _status(path: Path) -> _Status:
    """What changes when a file does."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _candidates(model: NeededModel) -> Iterator[Path]:
    """Files of this size, or first shards, in the folders of the environment variable."""
    for folder in filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)):
        for path in sorted(Path(folder).rglob("*.gguf")):
            is_first_shard = path.name == model.path.name and len(siblings(path)) > 1
            if is_first_shard or path.stat().st_size == model.fingerprint.n_bytes:
                yield path
