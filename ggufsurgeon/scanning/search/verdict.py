"""Whether what a search found is better than the unmodified model. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.scanning.search.findings import BestOfLength
from ggufsurgeon.statistics.maximum import LEVEL


def is_better(best: BestOfLength) -> bool:
    """Whether a path is shown to be better than the unmodified model."""
    return best.p_value is not None and best.p_value <= LEVEL


def search_verdict(best: Sequence[BestOfLength], n_held_out: int) -> tuple[bool, str]:
    """Whether one of the best paths is better, and why, by the held-out items alone.

    It is wrong in at most 5 % of searches without effects, whatever they tried: these items had no
    part in it. `best` has all of its p-values.
    """
    surpassing = [one for one in best if is_better(one)]
    chosen = max(surpassing or best, key=lambda one: one.path.score)
    among = f"one of {len(best)}" if len(best) > 1 else "the only one"
    figures = (
        f"p = {chosen.p_value or 0.0:.2g} over {n_held_out} held-out items, which the search did "
        f"not use, as {among} that it found"
    )
    name = chosen.path.layer_path
    if surpassing:
        return True, f"{name} is better than the unmodified model: {figures}."
    return False, (
        f"Noise: the best path of the search, {name}, is not shown to be better than the "
        f"unmodified model ({figures})."
    )
