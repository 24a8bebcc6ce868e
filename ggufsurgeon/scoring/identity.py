"""All that the scores of a task depend on, to find them in a store.

A fingerprint is a sample of a file; a SHA-256 is of all of it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.build import cpu_name, engine_build
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scoring.task import (
    LogitsFileReference,
    ModelReference,
    PathReference,
    ScoringTask,
)

N_SAMPLES, SAMPLE_N_BYTES = 64, 4096
"""Samples of the data of a model: enough to tell fine-tunes apart, whose headers can agree."""


def identity(task: ScoringTask) -> dict[str, Any]:
    """The identity of a task but for the layer paths that are scored, in plain types.

    Raises UsageError when a file cannot be read; and what `open_gguf` does.
    """
    devices = task.devices
    return {
        "model": _model(task.model),
        **_reference(task),
        "is_routed": task.is_routed,
        "text_sha256": hashlib.sha256(task.text).hexdigest(),
        "settings": asdict(task.settings),
        "devices": {
            **asdict(devices),
            "tensor_split": list(devices.tensor_split),
            "rpc": list(devices.rpc),
        },
        "engine": engine_build(),
        "cpu": cpu_name(),
    }


def _reference(task: ScoringTask) -> dict[str, Any]:
    """The reference: a model with its layer path, or a fingerprint of a file of logits."""
    base, fingerprint_of_logits = None, None
    if isinstance(task.reference, PathReference):
        base = _model_along(task.model, task.reference.layer_path)
    elif isinstance(task.reference, ModelReference):
        base = _model_along(task.reference.model, task.reference.layer_path)
    elif isinstance(task.reference, LogitsFileReference):
        fingerprint_of_logits = fingerprint(task.reference.file)
    return {"base": base, "base_logits_fingerprint": fingerprint_of_logits}


def _model(path: Path) -> dict[str, Any]:
    file = open_gguf(path)
    return {
        "header_sha256": file.header_sha256,
        "data_fingerprint": fingerprint(path, file.layout.data_start),
        "n_bytes": file.layout.n_bytes,
    }


def _model_along(path: Path, layer_path: LayerPath | None) -> dict[str, Any]:
    return {**_model(path), "layer_path": None if layer_path is None else str(layer_path)}


def fingerprint(path: Path, start: int = 0) -> str:
    """SHA-256 of the size of a file and of 64 pieces of 4 KiB, spread evenly from `start` on.

    Raises UsageError when it cannot be read.
    """
    try:
        with path.open("rb") as data:
            n_bytes = data.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(n_bytes).encode())
            end = max(n_bytes - SAMPLE_N_BYTES, start)
            for at in np.linspace(start, end, N_SAMPLES, dtype=np.int64):
                data.seek(int(at))
                digest.update(data.read(SAMPLE_N_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()
