"""The job of an anatomy: reads all texts and pairs with a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ggufsurgeon.anatomy.contents import CLOTHES, LEAST_CONTENTS, Content
from ggufsurgeon.anatomy.pairs import PairReading, PromptPair
from ggufsurgeon.anatomy.reading.block_figures import BlockFigures, block_figures
from ggufsurgeon.anatomy.reading.lens import LensFigures, read_lens
from ggufsurgeon.anatomy.reading.patching import patch_pair
from ggufsurgeon.anatomy.reading.states import as_vectors, read_states, without_first
from ggufsurgeon.anatomy.similarity import Cosines, content_cosines
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.routing.stage import N_BATCH, Stage, opened_stage
from ggufsurgeon.workers.session import Reporter, Session

N_POSITIONS = 8
"""The logit lens reads this many positions at the end of a text."""
LEAST_TOKENS = 2


@dataclass(frozen=True)
class Readings:
    """The figures that were read from a model."""

    cosines: Cosines
    """The result of `content_cosines`."""
    contents: tuple[str, ...]
    """The contents in `cosines`, in English."""
    blocks: BlockFigures
    """For the English texts, with a first axis [n_texts]."""
    lens: tuple[LensFigures, ...]
    """For each English text; empty for a model that does not predict the next token."""
    pairs: tuple[PairReading, ...]
    notes: tuple[str, ...]
    """What was left out, and why."""


def anatomy_job(
    session: Session,
    model: Path,
    devices: Devices,
    contents: Sequence[Content],
    pairs: Sequence[PromptPair],
    reporter: Reporter,
) -> Readings:
    """Read contents and pairs along the unmodified model.

    Raises UsageError for a model without a tokenizer or with too short a context, NotFiniteError
    for states or logits that are not finite numbers.
    """
    loaded = session.model(model, devices)
    reason = loaded.no_text
    if not loaded.has_tokenizer:
        raise UsageError(f"{model}: {reason}, so it cannot read texts")
    fitting, notes = _fitting(loaded, contents)
    plain = [texts[0] for texts in fitting.values()]
    if len(fitting) < LEAST_CONTENTS:
        raise UsageError(
            f"{model}: {len(fitting)} of {len(contents)} contents fit its context of "
            f"{loaded.n_ctx_train} tokens, and {LEAST_CONTENTS} are needed"
        )
    longest = max(len(tokens) for texts in fitting.values() for tokens in texts)
    with opened_stage(loaded, longest, longest) as stage:
        cosines, blocks = _read_contents(stage, list(fitting.values()), reporter)
        lens = () if reason else tuple(_read_lenses(stage, plain, reporter))
    if reason:
        notes.append(f"No logit lens, no ablation and no patching: {reason}.")
    found = () if reason else tuple(_patched(loaded, pairs, reporter))
    return Readings(cosines, tuple(fitting), blocks, lens, found, tuple(notes))


def _fitting(
    model: Model, contents: Sequence[Content]
) -> tuple[dict[str, list[Integers]], list[str]]:
    """Tokens of the contents whose forms all fit one batch and the model's context; notes."""
    most = min(model.n_ctx_train, N_BATCH)
    fitting, lengths = {}, []
    for content in contents:
        texts = [model.tokenize(text.encode()) for text in content.texts]
        lengths.append(max(map(len, texts)))
        if lengths[-1] <= most and min(map(len, texts)) >= LEAST_TOKENS:
            fitting[content.label] = texts
    n_left = len(contents) - len(fitting)
    notes = []
    if n_left:
        notes.append(
            f"{n_left} of {len(contents)} contents were left out because one of their forms has "
            f"fewer than {LEAST_TOKENS} or more than {most} tokens (the longest has "
            f"{max(lengths)})."
        )
    return fitting, notes


def _read_contents(
    stage: Stage, contents: Sequence[Sequence[Integers]], reporter: Reporter
) -> tuple[Cosines, BlockFigures]:
    """The cosines of all contents, and the figures of their English texts."""
    reporter.begin("states of texts", len(contents) * len(CLOTHES), "texts")
    pooled: list[list[npt.NDArray[np.float32]]] = []
    figures = []
    for texts in contents:
        pooled.append([])
        for number, tokens in enumerate(texts):
            vectors = without_first(as_vectors(read_states(stage, tokens)))
            pooled[-1].append(vectors.mean(axis=1).astype(np.float32))
            if number == 0:
                figures.append(block_figures(vectors))
            reporter.advance(1)
    cosines = content_cosines(np.array(pooled))
    return cosines, BlockFigures(*(np.array(each) for each in zip(*figures, strict=True)))


def _read_lenses(stage: Stage, texts: Sequence[Integers], reporter: Reporter) -> list[LensFigures]:
    reporter.begin("logit lens", len(texts), "texts")
    found = []
    for tokens in texts:
        wanted = np.arange(len(tokens)) >= max(1, len(tokens) - N_POSITIONS)
        found.append(read_lens(stage, tokens, read_states(stage, tokens), wanted))
        reporter.advance(1)
    return found


def _patched(model: Model, pairs: Sequence[PromptPair], reporter: Reporter) -> list[PairReading]:
    reporter.begin("activation patching", len(pairs), "pairs")
    found = []
    for pair in pairs:
        found.append(patch_pair(model, pair))
        reporter.advance(1)
    return found
