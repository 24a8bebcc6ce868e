"""A measurement of perplexity in a child process, which can be broken off and gone on with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.llama.child import Reporter, run_in_child
from ggufsurgeon.llama.device_use import recorded_use
from ggufsurgeon.llama.model import DeviceOptions, loaded_model
from ggufsurgeon.measuring.perplexity import (
    Losses,
    NewChunks,
    Perplexity,
    PerplexitySettings,
    estimate,
    measure_perplexity,
)
from ggufsurgeon.measuring.store import opened_store
from ggufsurgeon.progress import Progress

N_SAMPLES, SAMPLE_N_BYTES = 64, 4096
"""Of the data of a model: enough to tell fine-tunes of one model apart, whose headers can agree."""


def measure_with_store(
    file: GgufFile,
    text: bytes,
    settings: PerplexitySettings,
    options: DeviceOptions,
    store_path: Path | None,
    progress: Progress,
    hear: Callable[[Perplexity], object] | None,
) -> Perplexity:
    """The perplexity of a file on `text`, going on with the store at `store_path` if there is one.

    `hear` is called with the figures over the chunks so far.
    """
    start = time.perf_counter()
    # Without a file nobody can go on, and nothing needs a name.
    named = _names(file, text, settings, options) if store_path else {}
    with opened_store(store_path, named) as store:
        done = store.losses
        n_done = 0 if done is None else len(done)

        def keep(new: NewChunks) -> None:
            store.add(new.losses)
            known = store.losses
            if hear is not None and known is not None:
                seconds = time.perf_counter() - start
                n_new = len(known) - n_done
                hear(estimate(known, settings, new.n_chunks, n_new, seconds))

        return run_in_child(
            measure_file,
            file.path,
            text,
            settings,
            options,
            done,
            model=file.path,
            progress=progress,
            hear=keep,
        )


def _names(
    file: GgufFile, text: bytes, settings: PerplexitySettings, options: DeviceOptions
) -> dict[str, Any]:
    """All that the losses depend on."""
    return {
        "model_header_sha256": file.header_sha256,
        "model_data_sha256": _sample(file),
        "text_sha256": hashlib.sha256(text).hexdigest(),
        "settings": asdict(settings),
        "devices": {
            **asdict(options),
            "tensor_split": list(options.tensor_split),
            "rpc": list(options.rpc),
        },
        "llama_cpp_python": _engine_version(),
    }


def _engine_version() -> str:
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:  # the child process says so in better words
        return ""


def _sample(file: GgufFile) -> str:
    """SHA-256 of evenly spread pieces of the data section."""
    layout = file.layout
    digest = hashlib.sha256()
    with file.path.open("rb") as data:
        for at in np.linspace(layout.data_start, layout.n_bytes, N_SAMPLES, dtype=np.int64):
            data.seek(int(at))
            digest.update(data.read(SAMPLE_N_BYTES))
    return digest.hexdigest()


def measure_file(
    path: Path,
    text: bytes,
    settings: PerplexitySettings,
    options: DeviceOptions,
    done: Losses | None,
    progress: Reporter,
) -> Perplexity:
    """The perplexity of the model at `path` on `text`, and the devices that it ran on.

    Goes on behind the chunks that are `done`, and says each of its `NewChunks`.
    """
    with recorded_use() as use, loaded_model(path, options) as model:
        measured = measure_perplexity(model, text, settings, progress, done, progress.say)
    return replace(measured, devices=use.devices())
