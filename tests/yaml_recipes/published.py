"""Recipes with the ranges of published models, written anew in mergekit's format.

Ranges and names are those of the model cards: alpindale/goliath-120b, wolfram/miqu-1-120b and
nsfwthrowitaway69/Venus-120b-v1.2 (the same ranges of another model), and of the papers of SOLAR
(arXiv 2312.15166, depth up-scaling of 32 layers with m = 8) and RYS (the
window 45:52 of 80 blocks).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

XWIN, EURYALE = "Xwin-LM/Xwin-LM-70B-V0.1", "Sao10K/Euryale-1.3-L2-70B"


class Published(NamedTuple):
    """Slices of (model, first block, block behind the last), and what becomes of them."""

    slices: tuple[tuple[str, int, int], ...]
    n_source_blocks: int
    layers: str
    """The layer path with the first model as model 0."""

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(name for name, _, _ in self.slices))

    def yaml(self) -> str:
        return "\n".join(_lines(self.slices))


def _lines(slices: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    yield "slices:"
    for name, first, end in slices:
        yield from ("  - sources:", f"      - model: {name}")
        yield f"        layer_range: [{first}, {end}]"
    yield from ("merge_method: passthrough", "dtype: float16", "")


def _halves_of_twenty(name: str) -> tuple[tuple[str, int, int], ...]:
    return tuple((name, first, first + 20) for first in range(0, 70, 10))


_GOLIATH = (
    *((XWIN, 0, 16), (EURYALE, 8, 24), (XWIN, 17, 32), (EURYALE, 25, 40), (XWIN, 33, 48)),
    *((EURYALE, 41, 56), (XWIN, 49, 64), (EURYALE, 57, 72), (XWIN, 65, 80)),
)
PUBLISHED = {
    "goliath-120b": Published(
        _GOLIATH,
        80,
        "0..15,1:8..23,17..31,1:25..39,33..47,1:41..55,49..63,1:57..71,65..79",
    ),
    "miqu-1-120b": Published(
        _halves_of_twenty("152334H/miqu-1-70b-sf"),
        80,
        "0..19,10..29,20..39,30..49,40..59,50..69,60..79",
    ),
    "solar-10.7b": Published(
        (("mistralai/Mistral-7B-v0.1", 0, 24), ("mistralai/Mistral-7B-v0.1", 8, 32)),
        32,
        "0..23,8..31",
    ),
    "rys-xlarge": Published(
        (("MaziyarPanahi/calme-2.4-rys-78b", 0, 52), ("MaziyarPanahi/calme-2.4-rys-78b", 45, 80)),
        80,
        "0..51,45..79",
    ),
}
