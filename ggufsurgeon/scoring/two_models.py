"""A model and a reference that is another model: in step, or in rounds where both do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.devices.free_memory import free_memory
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scoring.chunks import Chunks, cut_text
from ggufsurgeon.scoring.group import GroupScorer, UsedDevices, opened_group_scorer
from ggufsurgeon.scoring.logits.kept_logits import KeptLogits, opened_kept_logits
from ggufsurgeon.scoring.logits.rows import opened_rows
from ggufsurgeon.scoring.task import ModelReference, ScoringTask
from ggufsurgeon.sizing.prediction import MARGIN
from ggufsurgeon.statistics.divergence import check_enough
from ggufsurgeon.statistics.perplexity import Lengths
from ggufsurgeon.workers.session import Reporter, Session

ROUND_N_BYTES = 8 << 30
"""Bytes of a reference's logits on disk at a time, where both models do not fit in memory."""

Done: TypeAlias = Sequence[int]
"""How many chunks are scored along each layer path of a task."""


class SharedText(NamedTuple):
    """A text that both models read as the same tokens."""

    chunks: Chunks
    n_vocab: int
    n_bytes: Lengths
    """Bytes of text of the scored tokens, [n_chunks, n_scored]."""
    base_n_vocab: int

    @property
    def n_common_tokens(self) -> int | None:
        """Tokens that both vocabularies have; None where they are of one size."""
        return common_tokens(self.n_vocab, self.base_n_vocab)


def common_tokens(n_vocab: int, base_n_vocab: int) -> int | None:
    """Tokens that two vocabularies of one tokenizer have; None where they are of one size.

    A vocabulary is padded behind its tokens, to a multiple of 64, say.
    """
    return None if n_vocab == base_n_vocab else min(n_vocab, base_n_vocab)


def read_by_both(task: ScoringTask, reference: ModelReference) -> SharedText:
    """Read the text by the vocabularies of both models, which are not loaded whole.

    Raises UsageError when it is not the same tokens to both, or does not fit one of them.
    """
    own, base = (_read(model, task) for model in (task.models.tokenizer, reference.model))
    both = f"{reference.model} and {task.model}"
    if not np.array_equal(own.chunks.tokens, base.chunks.tokens):
        difference = _first_difference(base.chunks, own.chunks)
        raise UsageError(
            f"{both} read the text as different tokens{difference}",
            hint="Only models of one tokenizer can be compared token by token.",
        )
    check_enough(len(own.chunks.tokens) * own.chunks.n_scored)
    return own._replace(base_n_vocab=base.n_vocab)


def _read(path: Path, task: ScoringTask) -> SharedText:
    with loaded_model(path, task.devices, vocabulary_alone=True) as model:
        chunks = cut_text(model, task.text, task.settings)
        n_bytes = model.n_bytes_of(chunks.targets)
        return SharedText(chunks, model.n_vocab, n_bytes, model.n_vocab)


def _first_difference(base: Chunks, own: Chunks) -> str:
    n_chunks = min(len(base.tokens), len(own.tokens))
    different = np.argwhere(base.tokens[:n_chunks] != own.tokens[:n_chunks])
    if not len(different):
        return ""
    return ", first in chunk {}, place {}".format(*different[0])


def fit_together(models: Sequence[Path], devices: Devices) -> bool:
    """Whether all weights fit where they are to go, with room for caches and buffers.

    Only what is free is counted, so that a model that would push others out does not fit.
    """
    n_bytes = sum(open_gguf(path).n_bytes for path in models)
    return n_bytes + len(models) * MARGIN <= free_memory(devices)


def score_in_step(
    session: Session, task: ScoringTask, reference: ModelReference, n_done: Done, reporter: Reporter
) -> UsedDevices:
    """Score with both models loaded: each group of chunks by the reference, then by the model."""
    text = read_by_both(task, reference)
    chunks, n_common = text.chunks, text.n_common_tokens
    base = session.model(reference.model, task.devices)
    sources = task.models.loaded(session, task.devices)
    model = sources.models[0]
    path = reference.layer_path or LayerPath.identity(base.n_blocks)
    with (
        opened_group_scorer(task, chunks, n_done, text.n_vocab, reporter, n_common) as scorer,
        opened_rows(base, chunks, is_routed=task.is_routed) as base_rows,
        opened_rows(sources, chunks, is_routed=task.is_routed) as rows,
        opened_kept_logits(chunks.n_seq, chunks.n_scored, text.base_n_vocab) as kept,
    ):
        scorer.begin(model)
        for group in scorer.groups():
            kept.begin(group)
            scorer.keep(group, base_rows, path, kept)
            scorer.score(group, model, rows, kept)
        devices = sources.devices_in_turn(), base.devices()
        return UsedDevices(len(chunks.tokens), *devices, text.n_bytes, n_common)


def score_in_rounds(
    session: Session,
    task: ScoringTask,
    reference: ModelReference,
    n_done: Done,
    n_bytes: int,
    reporter: Reporter,
) -> UsedDevices:
    """Score with one model in memory at a time, loaded anew in each round.

    In a round the reference runs some groups of chunks and keeps `n_bytes` of logits, or those of
    one group, in a temporary file; then the model runs the same groups.
    """
    text = read_by_both(task, reference)
    chunks, n_common = text.chunks, text.n_common_tokens
    n_round = chunks_a_round(chunks.n_seq, 4 * chunks.n_scored * text.base_n_vocab, n_bytes)
    n_kept = min(n_round, len(chunks.tokens))
    used = UsedDevices(len(chunks.tokens), (), (), text.n_bytes, n_common)
    with (
        opened_group_scorer(task, chunks, n_done, text.n_vocab, reporter, n_common) as scorer,
        opened_kept_logits(n_kept, chunks.n_scored, text.base_n_vocab, limit_n_bytes=0) as kept,
    ):
        one_round = _Round(session, task, chunks, scorer, kept, reporter)
        groups = scorer.groups()
        step = n_round // chunks.n_seq
        for start in range(0, len(groups), step):
            some = groups[start : start + step]
            of_reference = one_round.run_reference(some, reference)
            used = used._replace(model=one_round.run_model(some), reference=of_reference)
    return used


class _Round(NamedTuple):
    """What each round of `score_in_rounds` needs; a model is released after its turn."""

    session: Session
    task: ScoringTask
    chunks: Chunks
    scorer: GroupScorer
    kept: KeptLogits
    reporter: Reporter

    def run_reference(
        self, groups: Sequence[int], reference: ModelReference
    ) -> tuple[DeviceUse, ...]:
        """Keep the logits of the reference for some groups; its devices."""
        self.kept.begin(groups[0])
        base = self.session.model(reference.model, self.task.devices)
        path = reference.layer_path or LayerPath.identity(base.n_blocks)
        self.reporter.begin(base.path.name, len(groups) * self.chunks.n_seq, "chunks")
        self.scorer.start_clock()
        with opened_rows(base, self.chunks, is_routed=self.task.is_routed) as rows:
            for group in groups:
                self.scorer.keep(group, rows, path, self.kept)
                self.reporter.advance(len(self.chunks.of_group(group)))
        devices = base.devices()
        self.session.release(reference.model)
        return devices

    def run_model(self, groups: Sequence[int]) -> tuple[DeviceUse, ...]:
        """Score the same groups beside the logits that are kept; the models' devices."""
        sources = self.task.models.loaded(self.session, self.task.devices)
        model = sources.models[0]
        self.scorer.begin(model, groups[0])
        self.scorer.start_clock()
        with opened_rows(sources, self.chunks, is_routed=self.task.is_routed) as rows:
            for group in groups:
                self.scorer.score(group, model, rows, self.kept)
        devices = sources.devices_in_turn()
        for path in self.task.models.all:
            self.session.release(path)
        return devices


def chunks_a_round(n_seq: int, chunk_n_bytes: int, n_bytes: int) -> int:
    """Chunks that make `n_bytes` of logits, in whole groups: these decide the rounding."""
    return max(1, n_bytes // (chunk_n_bytes * n_seq)) * n_seq
