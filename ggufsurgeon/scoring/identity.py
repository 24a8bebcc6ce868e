"""All that the findings of a measurement depend on, to tell whether a store is of the same."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import UsageError
from ggufsurgeon.scoring.task import Side, Task

N_SAMPLES, SAMPLE_N_BYTES = 64, 4096
"""Of the data of a model: enough to tell fine-tunes of one model apart, whose headers can agree."""


def identity(task: Task) -> dict[str, Any]:
    """As JSON has it."""
    options = task.options
    return {
        **_side(task.side, "model"),
        **_side(task.base, "base"),
        "base_logits_sha256": _sample(task.base_logits.path) if task.base_logits else None,
        "text_sha256": hashlib.sha256(task.text).hexdigest(),
        "settings": asdict(task.settings),
        "devices": {
            **asdict(options),
            "tensor_split": list(options.tensor_split),
            "rpc": list(options.rpc),
        },
        "llama_cpp_python": _engine_version(),
    }


def _side(side: Side | None, name: str) -> dict[str, Any]:
    if side is None:
        return {f"{name}_data_sha256": None}
    file = open_gguf(side.model)
    return {
        f"{name}_header_sha256": file.header_sha256,
        f"{name}_data_sha256": _sample(side.model, file.layout.data_start),
        f"{name}_layer_path": str(side.layer_path) if side.layer_path else None,
    }


def _engine_version() -> str:
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:  # the child process says so in better words
        return ""


def _sample(path: Path, start: int = 0) -> str:
    """SHA-256 of evenly spread pieces of a file, from `start` on, and of its size."""
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
