"""Does the written file compute what the path computes on the unmodified source?

Both run the same tokens in batches of the same shape, one model after the other, never both in
memory. On a CPU the logits must be equal to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.context import Flags, Integers, Results
from ggufsurgeon.llama.model import Model
from ggufsurgeon.routing.router import N_BATCH, opened_router

N_COMPARED = 128
"""Tokens whose logits are compared, the last ones; all of the prompt where no window is slid."""
TOLERATED_MEAN_KL = 0.01
"""Nats, where something else than a CPU computes. Other kernels round differently: between batches
and single tokens, whose kernels differ, SmolLM2 Q4_1 shows 0.004 on a CPU."""
ROWS_AT_ONCE = 16
"""Rows turned into probabilities in one step; bounds the memory for big vocabularies."""


@dataclass(frozen=True)
class Equivalence:
    """How far the written file is from the routed path, over `n_tokens` rows of logits."""

    ok: bool
    max_abs_diff: float
    mean_kl: float
    """Nats, of the written file's distribution from the routed one's."""
    n_tokens: int
    n_prompt: int
    """Tokens of the prompt: more than a sliding window, where the model's context allows it."""


def prompt_length(model: Model) -> int:
    """Longer than any sliding window, and such that the last batch has the tokens compared."""
    n_before = -(-model.n_swa // N_BATCH) * N_BATCH if model.n_swa > N_COMPARED // 2 else 0
    return min(n_before + N_COMPARED, model.n_ctx_train)


def equivalence_prompt(model: Model, text: bytes) -> Integers:
    """The first tokens of a text, over again if it is short; random ones without a tokenizer."""
    n_tokens = prompt_length(model)
    if model.no_text:
        return np.random.default_rng(0).integers(0, model.n_vocab, n_tokens).astype(np.int32)
    return np.resize(model.tokenize(text), n_tokens)


def routed_logits(model: Model, path: LayerPath, tokens: Integers) -> Results:
    """The logits of the last batch of tokens along a path, shape [n_compared, n_vocab].

    Raises RefusedError when the path cannot be routed.
    """
    with opened_router([model], len(tokens)) as router:
        return next(router.logits(tokens, [path], _last_batch(tokens)))


def written_logits(model: Model, tokens: Integers) -> Results:
    """The same of a model as it is."""
    return routed_logits(model, LayerPath.identity(model.n_blocks), tokens)


def _last_batch(tokens: Integers) -> Flags:
    """Whole batches: the last block computes wanted tokens alone, and its shape must not differ."""
    first = (len(tokens) - 1) // N_BATCH * N_BATCH
    return np.arange(len(tokens)) >= first


def compare(routed: Results, written: Results, n_prompt: int, is_exact: bool) -> Equivalence:
    """Results of shape [n, n_vocab]; `is_exact` where both were computed by a CPU."""
    difference = max(_differences(routed, written), default=0.0)
    kl = float(np.mean(list(_divergences(routed, written))))
    close = difference == 0.0 if is_exact else kl <= TOLERATED_MEAN_KL
    ok = close and math.isfinite(difference) and math.isfinite(kl)
    return Equivalence(ok, difference, kl, len(routed), n_prompt)


def _differences(routed: Results, written: Results) -> Iterator[float]:
    for one, other in zip(routed, written, strict=True):
        # Equal infinities, as masked logits are, are no difference; NaN is one.
        different = one != other
        yield float(np.abs(one[different] - other[different]).max(initial=0.0))


def _divergences(routed: Results, written: Results) -> Iterator[float]:
    for start in range(0, len(routed), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        p, q = _log_softmax(routed[part]), _log_softmax(written[part])
        yield from np.sum(np.exp(p) * (p - q), axis=1, where=p > -np.inf)


def _log_softmax(logits: Results) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
