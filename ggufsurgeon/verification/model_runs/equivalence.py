"""Equivalence: the logits of the written file against those of the routed source.

Both run the same tokens in batches of the same shape, one model after the other, never both in
memory. On a CPU the logits must be equal to the bit. On other devices a control run is the
yardstick: the source by itself, in the same batches on the same devices, once as llama.cpp runs it
and once with the states read that the path needs. What these two differ by is noise; where they are
equal to the bit, so must the file be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import Batch, Flags, Integers, Results
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama_perplexity.softmax import log_softmax
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.routing.stage import N_BATCH

N_COMPARED = 128
"""Tokens whose logits are compared, the last ones; without a sliding window all of the prompt."""
MOST_MEAN_KL = 0.01
"""Nats, the most that is allowed whatever the noise, and where none was measured: of other kernels,
between batches and single tokens, SmolLM2 Q4_1 shows 0.004 on a CPU."""
MOST_DIFFERENCE = 0.01
"""Of embeddings in the same way, as a part of the largest."""
NOISE_FACTOR = 10
"""Allowed differences in units of the noise: a path has other blocks, and more of them, than the
control run. A divergence grows with the square of differences, so that it may be 100 times."""
ROWS_AT_ONCE = 16
"""Rows turned into probabilities in one step; bounds the memory for big vocabularies."""


class Sample(NamedTuple):
    """The results of a model for a prompt: tokens [n_prompt], results [n_compared, n_results]."""

    prompt: Integers
    results: Results
    are_logits: bool
    """False for the embeddings of an encoder."""


class Noise(NamedTuple):
    """How far two runs of the source by itself are apart."""

    max_abs_diff: float
    mean_kl: float | None
    """Nats; None for embeddings."""


NO_NOISE = Noise(0.0, 0.0)


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
    noise: Noise | None = None
    """Of the control run. None where weights were scaled, or no control run could be made."""


def draw_prompt(model: Model, text: bytes) -> Integers:
    """The first tokens of a text, over again if it is short; random ones without a tokenizer."""
    slides = model.n_swa > N_COMPARED // 2
    n_before = math.ceil(model.n_swa / N_BATCH) * N_BATCH if slides else 0
    n_tokens = min(n_before + N_COMPARED, model.n_ctx_train)
    if not model.has_tokenizer:
        return np.random.default_rng(0).integers(0, model.n_vocab, n_tokens).astype(np.int32)
    return np.resize(model.tokenize(text), n_tokens)


def take_sample(models: Model | Sources, path: LayerPath | None, prompt: Integers) -> Sample:
    """The results of the last batch of tokens along a path (None: of the first model as it is).

    Raises RefusedError when the path cannot be routed.
    """
    sources = Sources.of(models)
    model = sources.models[0]
    path = path or LayerPath.identity(model.n_blocks)
    with opened_router(sources, len(prompt)) as router:
        results = next(router.logits(prompt, [path], _last_batch(prompt)))
    return Sample(prompt, results, not model.is_encoder)


def _last_batch(prompt: Integers) -> Flags:
    """Whole batches: the last block computes wanted tokens alone, and its shape must not differ."""
    first = (len(prompt) - 1) // N_BATCH * N_BATCH
    return np.arange(len(prompt)) >= first


def compare(routed: Sample, written: Sample, noise: Noise | None) -> Equivalence:
    """Hold two samples of one prompt against each other, by the noise of the source.

    Without noise they must be equal to the bit; None stands for noise that is not known.
    """
    difference, kl = found = noise_between(routed, written)
    if noise is not None and noise.max_abs_diff == 0.0:
        ok = difference == 0.0
    elif kl is None:
        largest = float(np.abs(routed.results).max())
        ok = difference <= _limit(MOST_DIFFERENCE * largest, noise and noise.max_abs_diff, 1)
    else:
        ok = kl <= _limit(MOST_MEAN_KL, noise and noise.mean_kl, 2) and math.isfinite(difference)
    return Equivalence(ok, *found, len(routed.results), len(routed.prompt), noise)


def noise_between(one: Sample, other: Sample) -> Noise:
    """How far two samples of one prompt are apart."""
    difference = float(np.max(list(_differences(one.results, other.results))))
    if not one.are_logits:
        return Noise(difference, None)
    return Noise(difference, float(np.mean(list(_divergences(one.results, other.results)))))


def _limit(most: float, noise: float | None, power: int) -> float:
    return most if noise is None else min(most, NOISE_FACTOR**power * noise)


def take_control(
    models: Model | Sources, path: LayerPath, prompt: Integers
) -> tuple[Sample, Noise]:
    """The first source by itself: as llama.cpp runs it, and how far off with taps for `path`.

    Raises RefusedError when the path cannot be routed.
    """
    sources = Sources.of(models)
    model = sources.models[0]
    identity = LayerPath.identity(model.n_blocks)
    plain = take_sample(model, None, prompt)
    n_batch = len(prompt) if model.is_encoder else N_BATCH
    pieces = Batch.of(prompt, _last_batch(prompt)).parts(n_batch)
    with opened_router(sources, len(prompt)) as router:
        stream = router.stream(pieces, [identity, path])
        rows = [np.array(next(stream).logits) for _ in pieces]
    return plain, noise_between(plain, plain._replace(results=np.concatenate(rows)))


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
