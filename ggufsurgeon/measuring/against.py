"""A model on a text against a base, which is a file, another model's logits, or the model itself.

A job for a child process: one model is loaded, in one pass over the text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.device_use import DeviceUse, recorded_use
from ggufsurgeon.llama.model import DeviceOptions, Model, loaded_model
from ggufsurgeon.llama.threads import default_threads
from ggufsurgeon.measuring.base_file import BaseFile, BaseWriter, opened_base, opened_writer
from ggufsurgeon.measuring.base_rows import BaseRows
from ggufsurgeon.measuring.divergence import Comparison, Divergence, check_enough
from ggufsurgeon.measuring.perplexity import Losses, Perplexity, estimate
from ggufsurgeon.measuring.routed import routed_rows
from ggufsurgeon.measuring.scoring import (
    Chunks,
    PerplexitySettings,
    Scored,
    cut_text,
    scored_rows,
)
from ggufsurgeon.measuring.softmax import negative_log_likelihoods
from ggufsurgeon.progress import Progress


@dataclass(frozen=True)
class Task:
    """What to run, against what, and what to keep."""

    layer_path: LayerPath | None = None
    """None for the model as it is."""
    base_file: Path | None = None
    base_name: str = ""
    """What messages call it; its path if empty."""
    against_itself: bool = False
    """Whether the base is the same model as it is, in the same pass."""
    save_to: Path | None = None
    """Where to write the logits as a base file, over what is there."""
    save_exact: bool = False
    """Whether as 32-bit floats, without a clamp."""


@dataclass(frozen=True)
class Measured:
    """A model on a text, and against a base if there is one."""

    perplexity: Perplexity
    base: Perplexity | None = None
    """Of a base that was run too."""
    divergence: Divergence | None = None
    layer_path: str = ""
    """Along which the model was run; empty for the model as it is."""


def measure_against(
    path: Path,
    text: bytes,
    settings: PerplexitySettings,
    options: DeviceOptions,
    task: Task,
    progress: Progress,
) -> Measured:
    """Run the model at `path` over a text.

    Raises UsageError for a text or a base that does not fit, RefusedError for a path that cannot
    be routed, MalformedFileError for logits or a base file that are none, WriteFailedError.
    """
    if settings.stride is not None:
        raise UsageError("a divergence is of the second halves of chunks: leave --stride out")
    start = time.perf_counter()
    with (
        recorded_use() as use,
        loaded_model(path, options) as model,
        _opened_base(task) as base,
    ):
        chunks = _fitted(model, cut_text(model, text, settings), base, settings)
        tally = _Tally(model, chunks, task, base)
        progress.begin(path.name, len(chunks.tokens), "chunks")
        with _opened_writer(model, chunks, task) as writer:
            for scored, rows in _pieces(model, chunks, task, base):
                tally.add(scored, rows)
                if writer is not None:
                    writer.write(scored.chunk, scored.first, scored.logits)
                if scored.first + len(scored.targets) == chunks.n_scored:
                    progress.advance(1)
    seconds = time.perf_counter() - start
    along = str(task.layer_path or "")
    return replace(tally.measured(settings, seconds, use.devices()), layer_path=along)


class _Tally:
    """The losses of all scored tokens, and how far they are from the base's."""

    def __init__(self, model: Model, chunks: Chunks, task: Task, base: BaseFile | None) -> None:
        shape = (len(chunks.tokens), chunks.n_scored)
        self._model = model
        self._losses = np.empty(shape)
        self._base_losses = np.empty(shape) if task.against_itself else None
        self._comparison = None
        if base is not None or task.against_itself:
            check_enough(self._losses.size)
            is_quantised = base is not None and not base.shape.is_exact
            self._comparison = Comparison(*shape, is_quantised=is_quantised)

    def add(self, scored: Scored, base: BaseRows | None) -> None:
        """Take in some tokens. Raises MalformedFileError when their logits are no numbers."""
        self._put(self._losses, scored)
        if base is None or self._comparison is None:
            return
        self._comparison.add(scored.chunk, scored.first, scored.logits, base, scored.targets)
        if self._base_losses is not None:
            self._put(self._base_losses, scored._replace(logits=base.rows))

    def _put(self, losses: Losses, scored: Scored) -> None:
        with ThreadPoolExecutor(self._model.options.n_threads or default_threads()) as pool:
            found = negative_log_likelihoods(scored.logits, scored.targets, pool)
        if not np.isfinite(found).all():
            problem = "its logits are not finite numbers: weights or metadata are broken"
            raise MalformedFileError(str(self._model.path), problem)
        losses[scored.chunk, scored.first : scored.first + len(found)] = found

    def measured(
        self, settings: PerplexitySettings, seconds: float, devices: tuple[DeviceUse, ...]
    ) -> Measured:
        """What it comes to."""

        def perplexity(losses: Losses) -> Perplexity:
            n = len(losses)
            return replace(estimate(losses, settings, n, n, seconds), devices=devices)

        return Measured(
            perplexity(self._losses),
            None if self._base_losses is None else perplexity(self._base_losses),
            None if self._comparison is None else self._comparison.divergence(),
        )


def _fitted(
    model: Model, chunks: Chunks, base: BaseFile | None, settings: PerplexitySettings
) -> Chunks:
    """As many chunks as the base has, unless another number is asked for."""
    if base is None:
        return chunks
    if settings.n_chunks is None:
        chunks = replace(chunks, tokens=chunks.tokens[: base.shape.n_chunks])
    base.check(str(model.path), model.n_vocab, chunks.tokens)
    return chunks


@contextmanager
def _opened_base(task: Task) -> Iterator[BaseFile | None]:
    if task.base_file is None:
        yield None
        return
    with opened_base(task.base_file, task.base_name) as base:
        yield base


@contextmanager
def _opened_writer(model: Model, chunks: Chunks, task: Task) -> Iterator[BaseWriter | None]:
    if task.save_to is None:
        yield None
        return
    exact = task.save_exact
    with opened_writer(task.save_to, chunks.tokens, model.n_vocab, is_exact=exact) as writer:
        yield writer


def _pieces(
    model: Model, chunks: Chunks, task: Task, base: BaseFile | None
) -> Iterator[tuple[Scored, BaseRows | None]]:
    """The logits of scored tokens, and the base's of the same."""
    path = task.layer_path or LayerPath.identity(model.n_blocks)
    if task.against_itself:
        itself = LayerPath.identity(model.n_blocks)
        for plain, scored in routed_rows(model, chunks, [itself, path]):
            yield scored, BaseRows(plain.logits, model.n_vocab)
        return
    if task.layer_path is None:
        pieces = scored_rows(model, chunks)
    else:
        pieces = (scored for (scored,) in routed_rows(model, chunks, [path]))
    for scored in pieces:
        n = len(scored.targets)
        yield scored, base.rows(scored.chunk, scored.first, n) if base is not None else None
