"""Fingerprints of models and texts, made without reading models whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.joined_bytes import opened_bytes
from ggufsurgeon.errors import UsageError
from ggufsurgeon.workers.model_paths import ModelPaths

N_SAMPLES, SAMPLE_N_BYTES = 64, 4096
"""Of the data of a file: fine-tunes of one model can have the same header."""


class ModelFingerprint(NamedTuple):
    """A model: its header exactly, its data by a sample."""

    header_sha256: str
    data_fingerprint: str
    """As `data_fingerprint` computes it: two models that differ in few weights may share it."""
    n_bytes: int
    """Size of the file; of a model in shards, that of the file that they make."""

    @classmethod
    def of(cls, path: Path) -> ModelFingerprint:
        """The fingerprint of the GGUF file at `path`; of shards, that of the file that they make.

        Raises UsageError when it cannot be read, MalformedFileError when it breaks the format.
        """
        file = open_gguf(path)
        with opened_bytes(file) as data:
            sample = _sample(data.read, data.n_bytes, file.layout.data_start)
        return cls(file.header_sha256, sample, file.layout.n_bytes)


def fingerprint_of_others(models: ModelPaths) -> dict[str, Any]:
    """What figures depend on where blocks are of several models; nothing for one model.

    Raises as `ModelFingerprint.of`.
    """
    if not models.others:
        return {}
    outside = None if models.outside is None else asdict(models.outside)
    others = [ModelFingerprint.of(path)._asdict() for path in models.others]
    return {"others": others, "outside": outside}


class TextFingerprint(NamedTuple):
    """A text: all its bytes, by their digest."""

    sha256: str
    n_bytes: int

    @classmethod
    def of(cls, text: bytes) -> TextFingerprint:
        """The fingerprint of these bytes."""
        return cls(hashlib.sha256(text).hexdigest(), len(text))


def data_fingerprint(path: Path) -> str:
    """SHA-256 of a file's size and of 64 pieces of 4 KiB, spread evenly over it.

    Raises UsageError when it cannot be read.
    """
    try:
        with path.open("rb") as data:
            descriptor = data.fileno()
            n_bytes = os.fstat(descriptor).st_size
            return _sample(lambda at, n: os.pread(descriptor, n, at), n_bytes, 0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _sample(read: Callable[[int, int], bytes], n_bytes: int, start: int) -> str:
    """SHA-256 of the size and of pieces, spread evenly from byte `start` on.

    `read` is given an offset and a number of bytes.
    """
    digest = hashlib.sha256(str(n_bytes).encode())
    end = max(n_bytes - SAMPLE_N_BYTES, start)
    for at in np.linspace(start, end, N_SAMPLES, dtype=np.int64):
        digest.update(read(int(at), SAMPLE_N_BYTES))
    return digest.hexdigest()
