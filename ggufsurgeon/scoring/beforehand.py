"""What can be known of two models before any of them is loaded whole: a job for a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.free_memory import free_memory
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.engine.session import Reporter, Session
from ggufsurgeon.errors import UsageError
from ggufsurgeon.scoring.chunks import Chunks
from ggufsurgeon.scoring.jobs import cut_chunks
from ggufsurgeon.scoring.task import Side, Task
from ggufsurgeon.sizing.prediction import MARGIN


class Beforehand(NamedTuple):
    """The shape of a measurement, and whether both models fit in memory together."""

    n_chunks: int
    n_seq: int
    chunk_n_bytes: int
    """Of the logits of a chunk, as 32-bit floats."""
    fit_together: bool


def look_at_both(_session: Session, task: Task, _reporter: Reporter) -> Beforehand:
    """Read the text by the vocabularies of both sides.

    Raises UsageError when it is not the same tokens to both, or does not fit a side.
    """
    assert task.base is not None
    chunks, n_vocab = _read(task.side, task)
    base_chunks, base_n_vocab = _read(task.base, task)
    sides = f"{task.base.model} and {task.side.model}"
    if n_vocab != base_n_vocab:
        problem = f"have vocabularies of {base_n_vocab} and {n_vocab} tokens"
        raise UsageError(f"{sides} {problem}: their predictions cannot be compared")
    if not np.array_equal(chunks.tokens, base_chunks.tokens):
        raise UsageError(
            f"{sides} read the text as different tokens{_first_difference(base_chunks, chunks)}",
            hint="Only models of one tokenizer can be compared token by token.",
        )
    return Beforehand(
        n_chunks=len(chunks.tokens),
        n_seq=chunks.n_seq,
        chunk_n_bytes=4 * chunks.n_scored * n_vocab,
        fit_together=fit_together([task.base.model, task.side.model], task.options),
    )


def _read(side: Side, task: Task) -> tuple[Chunks, int]:
    with loaded_model(side.model, task.options, vocabulary_alone=True) as model:
        return cut_chunks(model, task), model.n_vocab


def _first_difference(base: Chunks, own: Chunks) -> str:
    n_chunks = min(len(base.tokens), len(own.tokens))
    different = np.argwhere(base.tokens[:n_chunks] != own.tokens[:n_chunks])
    if not len(different):
        return ""
    return ", first in chunk {}, place {}".format(*different[0])


def fit_together(models: Sequence[Path], options: Devices) -> bool:
    """Whether all weights fit where they are to go, with room for caches and buffers.

    Only what is free is counted, so that a model that would push others out is none that fits.
    """
    n_bytes = sum(path.stat().st_size for path in models)
    return n_bytes + len(models) * MARGIN <= free_memory(options)
