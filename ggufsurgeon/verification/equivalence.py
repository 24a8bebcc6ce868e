"""Equivalence: the logits of the written file against those of the routed source.

Both run the same tokens in batches of the same shape, one model after the other, never both in
memory. On a CPU the logits must be equal to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Flags, Integers, Results
from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.softmax import log_softmax
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.routing.stage import N_BATCH

N_COMPARED = 128
"""Tokens whose logits are compared, the last ones; without a sliding window all of the prompt."""
TOLERATED_MEAN_KL = 0.01
"""Nats, where something else than a CPU computes. Other kernels round differently: between batches
and single tokens, whose kernels differ, SmolLM2 Q4_1 shows 0.004 on a CPU."""
TOLERATED_DIFFERENCE = 0.01
"""Of embeddings there, as a part of the largest."""
ROWS_AT_ONCE = 16
"""Rows turned into probabilities in one step; bounds the memory for big vocabularies."""


class Sample(NamedTuple):
    """The results of a model for a prompt: tokens [n_prompt], results [n_compared, n_results]."""

    prompt: Integers
    results: Results
    are_logits: bool
    """False for the embeddings of an encoder."""


@dataclass(frozen=True)
class Equivalence:
    """How far the written file is from the routed path, over the results of `n_tokens` tokens."""

    ok: bool
    max_abs_diff: float
    mean_kl: float | None
    """Nats, of the written file's distributions from the routed ones; None for embeddings."""
    n_tokens: int
    n_prompt: int
    """Tokens of the prompt: more than a sliding window, where the model's context allows it."""


def draw_prompt(model: Model, text: bytes) -> Integers:
    """The first tokens of a text, over again if it is short; random ones without a tokenizer."""
    slides = model.n_swa > N_COMPARED // 2
    n_before = math.ceil(model.n_swa / N_BATCH) * N_BATCH if slides else 0
    n_tokens = min(n_before + N_COMPARED, model.n_ctx_train)
    if not model.has_tokenizer:
        return np.random.default_rng(0).integers(0, model.n_vocab, n_tokens).astype(np.int32)
    return np.resize(model.tokenize(text), n_tokens)


def take_sample(model: Model, path: LayerPath | None, prompt: Integers) -> Sample:
    """The results of the last batch of tokens along a path (None: of the model as it is).

    Raises RefusedError when the path cannot be routed.
    """
    path = path or LayerPath.identity(model.n_blocks)
    with opened_router([model], len(prompt)) as router:
        results = next(router.logits(prompt, [path], _last_batch(prompt)))
    return Sample(prompt, results, not model.is_encoder)


def _last_batch(prompt: Integers) -> Flags:
    """Whole batches: the last block computes wanted tokens alone, and its shape must not differ."""
    first = (len(prompt) - 1) // N_BATCH * N_BATCH
    return np.arange(len(prompt)) >= first


def compare(routed: Sample, written: Sample, must_be_equal: bool) -> Equivalence:
    """Hold two samples of one prompt against each other; equal to the bit where CPUs computed."""
    difference = float(np.max(list(_differences(routed.results, written.results))))
    kl = None
    is_close = difference <= TOLERATED_DIFFERENCE * float(np.abs(routed.results).max())
    if routed.are_logits:
        kl = float(np.mean(list(_divergences(routed.results, written.results))))
        is_close = kl <= TOLERATED_MEAN_KL and math.isfinite(difference)
    ok = difference == 0.0 if must_be_equal else is_close
    return Equivalence(ok, difference, kl, len(routed.results), len(routed.prompt))


def _differences(routed: Results, written: Results) -> Iterator[float]:
    for one, other in zip(routed, written, strict=True):
        # Equal infinities, as masked logits are, are no difference; NaN is one.
        different = one != other
        yield float(np.abs(one[different] - other[different]).max(initial=0.0))


def _divergences(routed: Results, written: Results) -> Iterator[float]:
    for start in range(0, len(routed), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        # In 64 bits: the roundings of 32 would hide a divergence below 1e-8, and could negate it.
        p, q = (log_softmax(results[part].astype(np.float64)) for results in (routed, written))
        ratio = np.subtract(p, q, out=np.zeros_like(p), where=p > -np.inf)  # 0 log 0 is 0
        yield from np.sum(np.exp(p) * ratio, axis=1)
