"""Sampling of the next token, by llama.cpp's own samplers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ggufsurgeon.engine.installation.library import llama_cpp


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling. With a temperature of 0 it takes the likeliest token (greedy).

    >>> import ggufsurgeon as gs
    >>> sampling = gs.Sampling(temperature=0.8, seed=7)
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     first = model.generate("Once", max_tokens=8, sampling=sampling).text
    ...     again = model.generate("Once", max_tokens=8, sampling=sampling).text
    >>> first == again
    True
    """

    temperature: float = 0.0
    top_k: int = 40
    """Number of most likely tokens to sample from."""
    top_p: float = 0.95
    """Nucleus threshold: a probability."""
    seed: int = 0
    """Random seed; the same seed gives the same text."""


@contextmanager
def opened_sampler(sampling: Sampling) -> Iterator[Any]:
    """A native chain of samplers: top-k, top-p, temperature, and a draw by seed; or greedy."""
    lib = llama_cpp()
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    if sampling.temperature <= 0:
        links = [lib.llama_sampler_init_greedy()]
    else:
        links = [
            lib.llama_sampler_init_top_k(sampling.top_k),
            lib.llama_sampler_init_top_p(sampling.top_p, 1),
            lib.llama_sampler_init_temp(sampling.temperature),
            lib.llama_sampler_init_dist(sampling.seed),
        ]
    for link in links:  # the chain frees them
        lib.llama_sampler_chain_add(chain, link)
    try:
        yield chain
    finally:
        lib.llama_sampler_free(chain)
