"""Choosing the next token, by llama.cpp's own samplers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ggufsurgeon.engine.library import llama_cpp


@dataclass(frozen=True)
class Sampling:
    """A temperature of 0 takes the likeliest token; the rest then has no say."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    seed: int = 0


@contextmanager
def opened_sampler(sampling: Sampling) -> Iterator[Any]:
    """A chain of samplers: top-k, top-p, temperature, and a draw by seed."""
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
