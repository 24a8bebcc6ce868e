"""All that the scores of a measurement depend on, to find it in a store.

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
from ggufsurgeon.scoring.task import Side, Task

N_SAMPLES, SAMPLE_N_BYTES = 64, 4096
"""Of the data of a model: enough to tell fine-tunes of one model apart, whose headers can agree."""


def identity(task: Task) -> dict[str, Any]:
    """The identity of a task but for the layer path of the model, in plain types."""
    options = task.options
    return {
        "model": _model(task.side.model),
        "base": _base(task.base) if task.base else None,
        "base_logits_fingerprint": (
            fingerprint(task.base_logits.path) if task.base_logits else None
        ),
        "is_routed": task.is_routed,
        "text_sha256": hashlib.sha256(task.text).hexdigest(),
        "settings": asdict(task.settings),
        "devices": {
            **asdict(options),
            "tensor_split": list(options.tensor_split),
            "rpc": list(options.rpc),
        },
        "engine": engine_build(),
        "cpu": cpu_name(),
    }


def _model(path: Path) -> dict[str, Any]:
    file = open_gguf(path)
    return {
        "header_sha256": file.header_sha256,
        "data_fingerprint": fingerprint(path, file.layout.data_start),
        "n_bytes": file.layout.n_bytes,
    }


def _base(side: Side) -> dict[str, Any]:
    layer_path = None if side.layer_path is None else str(side.layer_path)
    return {**_model(side.model), "layer_path": layer_path}


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
