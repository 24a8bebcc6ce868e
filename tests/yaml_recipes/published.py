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


class Damped(NamedTuple):
    """A recipe of the form that is published for self-merges whose inner blocks are damped.

    Constants have anchors, and `<<` pulls `scale` with its filters into each slice (arcee-ai/
    mergekit issue 198, where queries and keys are scaled by the root of 1/2). The ranges are those
    of such merges on models of fewer blocks.
    """

    values: tuple[tuple[str, str], ...]
    """Filters with their values."""
    slices: tuple[tuple[str, int, int, bool], ...]
    """Of each slice the model, the first block, that behind the last, and whether it is damped."""
    n_source_blocks: int
    layers: str

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(name for name, *_ in self.slices))

    def yaml(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for n, name in enumerate(self.models):
            yield f"const_tag: &MODEL{n} {name}"
        for n, value in enumerate(dict.fromkeys(value for _, value in self.values)):
            yield f"const_tag: &FACTOR{n} {value}"
        yield from ("damped-env: &damped_env", "  parameters:", "    scale:")
        constants = list(dict.fromkeys(value for _, value in self.values))
        for name, value in self.values:
            yield from (
                f"      - filter: {name}",
                f"        value: *FACTOR{constants.index(value)}",
            )
        yield from ("      - value: 1.0", "slices:")
        for name, first, end, is_damped in self.slices:
            yield from ("  - sources:", f"    - model: *MODEL{self.models.index(name)}")
            yield f"      layer_range: [{first}, {end}]"
            yield from ("      <<: *damped_env" for _ in range(is_damped))
        yield from ("merge_method: passthrough", "dtype: float16", "")


ROOT_OF_HALF = "0.7071067812"
_QK = "attn_q=0.70710677*attn_k=0.70710677"
DAMPED = {
    "queries, keys and FFNs of a self-merge": Damped(
        (("q_proj", ROOT_OF_HALF), ("k_proj", ROOT_OF_HALF), ("down_proj", "0.5")),
        tuple(
            ("152334H/miqu-1-70b-sf", first, first + 4, 0 < first < 8) for first in range(0, 10, 2)
        ),
        12,
        f"0..3,2..5*{_QK}*ffn_down=0.5,4..7*{_QK}*ffn_down=0.5,6..9*{_QK}*ffn_down=0.5,8..11",
    ),
    "all four of a self-merge": Damped(
        (
            *(("o_proj", "0.5"), ("down_proj", "0.5")),
            *(("q_proj", ROOT_OF_HALF), ("k_proj", ROOT_OF_HALF)),
        ),
        (
            *(("org/dark", 0, 3, False), ("org/dark", 3, 8, True)),
            *(("org/dark", 5, 10, True), ("org/dark", 10, 12, False)),
        ),
        12,
        f"0..2,3..7*0.5*{_QK},5..9*0.5*{_QK},10..11",
    ),
    "two models, block by block": Damped(
        (("q_proj", "0.84"), ("k_proj", "0.84"), ("o_proj", "0.7")),
        (
            ("org/one", 0, 4, False),
            *((name, n, n + 1, True) for n in range(4, 8) for name in ("org/one", "org/two")),
            ("org/one", 8, 12, False),
        ),
        12,
        "0..3,"
        + ",".join(
            f"{source}{n}*attn_q=0.84*attn_k=0.84*attn_output=0.7"
            for n in range(4, 8)
            for source in ("", "1:")
        )
        + ",8..11",
    ),
}
