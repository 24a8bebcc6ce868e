"""Perplexity of the scored tokens of chunks, with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.statistics.estimate import Estimate, exponential
from ggufsurgeon.statistics.scores import Losses

Lengths = npt.NDArray[np.int64]
"""Bytes of text of scored tokens, [n_chunks, n_scored]."""


@dataclass(frozen=True)
class Perplexity:
    """The exponential of the mean negative log-likelihood of the scored tokens of a text.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     found = model.perplexity(text, settings=settings)
    >>> found.n_scored, len(found.chunk_losses), found.is_partial
    (124, 4, False)
    """

    value: float
    error: float
    """Standard error under the assumption that tokens are independent, which llama-perplexity
    makes too."""
    n_chunks: int
    """Number of chunks that were scored."""
    n_ctx: int
    """Number of tokens in a chunk."""
    n_scored: int
    """Number of scored tokens in all chunks."""
    seconds: float
    """Time that this run spent on these scores, from the text to the result."""
    tokens_per_second: float
    """Tokens of the chunks that this run decoded, divided by `seconds`; 0 when it decoded none."""
    devices: tuple[DeviceUse, ...] = ()
    """Memory of the model on each device; empty when this run decoded nothing."""
    n_chunks_in_all: int = 0
    """Number of chunks in the text: `n_chunks`, or more where the run was interrupted."""
    chunk_losses: tuple[float, ...] = ()
    """Mean negative log-likelihood of each chunk, in nats."""
    position_losses: tuple[float, ...] = ()
    """Mean negative log-likelihood of each scored position over the chunks, in nats. The last one
    is predicted at position n_ctx - 2."""
    bits_per_byte: Estimate | None = None
    """Bits for each byte of the text of the scored tokens. It compares models of different
    tokenizers, as perplexity does not. None where the run was interrupted."""

    @property
    def is_partial(self) -> bool:
        """Whether the run was interrupted."""
        return self.n_chunks < self.n_chunks_in_all


def estimate_perplexity(
    losses: Losses,
    n_ctx: int,
    n_chunks_in_all: int,
    n_measured: int,
    seconds: float,
    n_bytes: Lengths | None = None,
) -> Perplexity:
    """The perplexity of losses [n_chunks, n_scored], in nats, of chunks of `n_ctx` tokens.

    `n_measured` of the chunks were scored by this run, in `seconds`. `n_bytes` are the lengths of
    the scored tokens; without them there are no bits per byte. Value and error are those of
    tools/perplexity/perplexity.cpp:641-648 in llama.cpp of 2026-10-01.
    """
    mean = float(losses.mean())
    variance = float((losses**2).mean()) - mean**2
    value = exponential(mean)
    return Perplexity(
        value=value,
        error=value * math.sqrt(max(variance, 0) / max(losses.size - 1, 1)),
        n_chunks=len(losses),
        n_ctx=n_ctx,
        n_scored=losses.size,
        seconds=seconds,
        tokens_per_second=n_measured * n_ctx / seconds if n_measured else 0.0,
        n_chunks_in_all=n_chunks_in_all,
        chunk_losses=tuple(losses.mean(axis=1).tolist()),
        position_losses=tuple(losses.mean(axis=0).tolist()),
        bits_per_byte=None if n_bytes is None else bits_per_byte(losses, n_bytes),
    )


def bits_per_byte(losses: Losses, n_bytes: Lengths) -> Estimate:
    """Bits for each byte of text, of losses in nats of tokens that stand for `n_bytes` bytes.

    The sum of the losses in bits, divided by the number of bytes (`bits_per_byte` of
    lm-evaluation-harness, lm_eval/api/metrics.py; Gao et al., The Pile, 2020, section 3.1). The
    standard error is that of a ratio of means over tokens that are taken to be independent
    (Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6). Both arrays are of one shape; of
    tokens that stand for no bytes, infinity.
    """
    n, n_all = losses.size, int(n_bytes.sum())
    if not n_all:
        return Estimate(math.inf, None)
    bits = losses / math.log(2)
    value = float(bits.sum()) / n_all
    if n < 2 or not math.isfinite(value):
        return Estimate(value, None)
    residuals = bits - value * n_bytes
    return Estimate(value, math.sqrt(float((residuals**2).sum()) / (n - 1) * n) / n_all)
