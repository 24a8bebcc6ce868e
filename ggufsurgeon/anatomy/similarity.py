"""How similar the residual stream of one content is across its forms, block by block. Pure.

The state of a text is the mean over its tokens. The mean over all contents in the same form is
subtracted from it, so that what all texts in a language or an encoding have in common does not
count: the centring of Libovický, Rosa and Fraser, "How Language-Neutral is Multilingual BERT?"
(arXiv 1911.03310, section 3). Then states are compared by their cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ggufsurgeon.anatomy.contents import BASE64, CLOTHES, CODE, ENGLISH, HEX, LANGUAGES

Values = npt.NDArray[np.float64]
Cosines = npt.NDArray[np.float32]
"""[n_pairs_of_forms, n_blocks + 1, n_contents, n_contents]: the cosine of the row's content in the
first form and the column's content in the second."""

PAIRS = tuple(combinations(range(len(CLOTHES)), 2))
"""The pairs of forms, in order."""
_NAMES = [(CLOTHES[one], CLOTHES[other]) for one, other in PAIRS]
GROUPS = {
    "the languages alone": [one in LANGUAGES and other in LANGUAGES for one, other in _NAMES],
    "code with the languages": [one in LANGUAGES and other == CODE for one, other in _NAMES],
    "Base64 and hex with the others": [other in (BASE64, HEX) for _, other in _NAMES],
}
"""Which pairs of forms are in a group, in the order of PAIRS."""
N_DRAWS = 2000
TAIL = 2.5
"""Percentage of the draws beyond each end of an interval."""


@dataclass(frozen=True)
class Curve:
    """A figure after each block, with its 95 % interval; the first is of the input of block 0."""

    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Similarity:
    """How similar contents are across forms."""

    same: Curve
    """Mean cosine of one content in two forms; the interval is a bootstrap over contents."""
    shuffled: Curve
    """The same with the contents of each form in another order: the value without common content.
    The interval holds 95 % of the shuffles."""
    of_clothes: dict[str, tuple[float, ...]]
    """Mean cosine with English minus that of other contents, by the name of the other form."""
    p_value: float
    """Probability that shuffled contents have at least the same mean cosine over all blocks."""
    n_contents: int


def content_cosines(pooled: npt.NDArray[np.float32]) -> Cosines:
    """Cosines of centred states [n_contents, n_forms, n_blocks + 1, n_values].

    A state that is 0 after centring has the cosine 0 with all others.
    """
    centred = pooled - pooled.mean(axis=0, keepdims=True)
    lengths = np.linalg.norm(centred, axis=-1, keepdims=True)
    units = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    by_state = units.transpose(1, 2, 0, 3)  # [n_forms, n_states, n_contents, n_values]
    found = [by_state[one] @ by_state[other].swapaxes(-1, -2) for one, other in PAIRS]
    return np.stack(found).astype(np.float32)


def excess_of_contents(cosines: Cosines, group: str | None = None) -> Values:
    """Cosine of each content with itself in other forms, minus that with other contents.

    The mean over all pairs of forms, or those of a group, [n_contents, n_blocks + 1].
    """
    chosen = cosines if group is None else cosines[np.array(GROUPS[group])]
    return np.asarray(_excess(chosen).mean(axis=0).T)


def similarity(cosines: Cosines, seed: int) -> Similarity:
    """The curves, with intervals and a p-value; `seed` draws the bootstraps and shuffles."""
    generator = np.random.default_rng(seed)
    n = cosines.shape[-1]
    own = np.diagonal(cosines, axis1=-2, axis2=-1).mean(axis=0)  # [n_states, n_contents]
    resampled = generator.integers(0, n, (N_DRAWS, n))
    drawn = np.stack([own[:, chosen].mean(axis=-1) for chosen in resampled])
    same = _curve(own.mean(axis=-1), drawn)
    shuffles = np.stack([_shuffled(cosines, generator) for _ in range(N_DRAWS)])
    n_reached = (shuffles.mean(axis=1) >= own.mean()).sum()
    return Similarity(
        same=same,
        shuffled=_curve(shuffles.mean(axis=0), shuffles),
        of_clothes=_with_english(cosines),
        p_value=float((1 + n_reached) / (1 + N_DRAWS)),
        n_contents=n,
    )


def _excess(cosines: Cosines) -> Values:
    """The excess of each pair of forms, [n_pairs, n_states, n_contents]."""
    n = cosines.shape[-1]
    own = np.diagonal(cosines, axis1=-2, axis2=-1).astype(np.float64)
    others = (cosines.sum(axis=-1) + cosines.sum(axis=-2) - 2 * own) / (2 * (n - 1))
    return np.asarray(own - others)


def _shuffled(cosines: Cosines, generator: np.random.Generator) -> Values:
    """Mean cosine with the contents of each form in a random order of their own, [n_states]."""
    n = cosines.shape[-1]
    orders = [generator.permutation(n) for _ in CLOTHES]
    found = [
        cosines[pair][:, orders[one], orders[other]].mean(axis=-1)
        for pair, (one, other) in enumerate(PAIRS)
    ]
    return np.asarray(np.mean(found, axis=0, dtype=np.float64))


def _with_english(cosines: Cosines) -> dict[str, tuple[float, ...]]:
    excess = _excess(cosines).mean(axis=-1)
    english = CLOTHES.index(ENGLISH)
    return {
        CLOTHES[other]: tuple(excess[pair].tolist())
        for pair, (one, other) in enumerate(PAIRS)
        if one == english
    }


def _curve(values: Values, drawn: Values) -> Curve:
    low, high = np.percentile(drawn, [TAIL, 100 - TAIL], axis=0)
    return Curve(tuple(values.tolist()), tuple(low.tolist()), tuple(high.tolist()))
