"""Whether the figures of a result agree with each other, which edited ones seldom do.

A result against a base has each figure in several forms: the perplexities, their ratio, its
logarithm and their difference, with errors to first order (`statistics/divergence.py`). A single
perplexity has no second form, so it is not checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

ENOUGH = 1e-5
"""The largest relative difference: sums are made in 32 and in 64 bits."""
ENOUGH_OF_ERROR = 1e-2
"""The same for standard errors, in which squares cancel out (`llama_perplexity/moments.py`)."""
SMALLEST = 2.0**-126
"""Percentiles are numbers of 32 bits: smaller ones may be 0."""


class Contradiction(ValueError):
    """Two figures of a result that cannot both be right."""


class _Pair(NamedTuple):
    """A figure, and its value as computed from the others."""

    name: str
    told: float
    expected: float
    tolerance: float
    """The largest difference that rounding makes."""


def check_consistent(found: dict[str, Any]) -> None:
    """Raise Contradiction, which names the figure, where figures contradict each other.

    Raises KeyError, TypeError, AttributeError and ArithmeticError for what is no result of
    `ggufsurgeon perplexity`.
    """
    _check_ranges("perplexity", found["perplexity"], 1 - ENOUGH, math.inf)
    _check_ranges("n_scored", found["n_scored"], 1, found["n_chunks"] * found["n_ctx"])
    divergence = found.get("divergence")
    if divergence is None:
        return
    _check_ranges("same_top", divergence["same_top"]["value"], 0, 1)
    _check_distribution("kl", divergence["kl"], divergence["n_scored"])
    for name, told, expected, tolerance in _pairs(found, divergence):
        if not abs(told - expected) <= tolerance:
            raise Contradiction(f"{name} is {told:g}, but the other figures give {expected:g}")


def _check_ranges(name: str, told: float, least: float, most: float) -> None:
    if not least <= told <= most:
        raise Contradiction(f"{name} is {told:g}, which is impossible")


def _check_distribution(name: str, spread: dict[str, Any], n: int) -> None:
    """The percentiles of `n` values descend, and their mean is one that such values can have.

    The value at position k of the sorted ones is between the percentiles that k / (n - 1) is
    between, since these are interpolated (`llama_perplexity/percentiles.py`).
    """
    percents = (0.0, *(float(percent) / 100 for percent in reversed(spread["percentiles"])), 1.0)
    rising = [spread["minimum"], *reversed(spread["percentiles"].values()), spread["maximum"]]
    slack = ENOUGH * max(map(abs, rising)) + SMALLEST
    if any(one > following + slack for one, following in pairwise(rising)):
        raise Contradiction(f"the percentiles of {name} are out of order")
    first = [math.ceil(percent * (n - 1)) for percent in percents[:-1]]
    counts = [end - start for start, end in pairwise((*first, n))]
    bounds = [
        sum(count * value for count, value in zip(counts, side, strict=True)) / n
        for side in (rising[:-1], rising[1:])
    ]
    least, most = bounds[0] - slack, bounds[1] + slack
    _check_ranges(f"the mean of {name}", spread["mean"]["value"], least, most)


def _pairs(found: dict[str, Any], divergence: dict[str, Any]) -> Iterator[_Pair]:
    mine, base = divergence["perplexity"], divergence["base_perplexity"]
    ratio, ln_ratio = divergence["ratio"], divergence["ln_ratio"]
    difference, same = divergence["difference"]["value"], divergence["same_top"]
    if divergence["n_common_tokens"] is None:  # else the divergence is over fewer tokens
        yield from _both("", found, mine)
        if "base" in found:
            yield from _both("base ", found["base"], base)
        yield _pair("n_scored", found["n_scored"], divergence["n_scored"])
    yield _pair("perplexity_ratio", found["perplexity_ratio"], ratio["value"])
    yield _pair("ratio", ratio["value"], mine["value"] / base["value"])
    yield _Pair("ln_ratio", ln_ratio["value"], math.log(ratio["value"]), ENOUGH)
    yield _pair("error of ratio", ratio["error"], ratio["value"] * ln_ratio["error"])
    slack = ENOUGH * max(mine["value"], base["value"])
    yield _Pair("difference", difference, mine["value"] - base["value"], slack)
    errors = mine["error"] / mine["value"], base["error"] / base["value"]
    shared = divergence["correlation"] * errors[0] * errors[1]
    expected = math.sqrt(max(errors[0] ** 2 + errors[1] ** 2 - 2 * shared, 0))
    slack = ENOUGH_OF_ERROR * max(errors)
    yield _Pair("error of ln_ratio", ln_ratio["error"], expected, slack)
    variance = same["value"] * (1 - same["value"]) / (divergence["n_scored"] - 1)
    yield _pair("error of same_top", same["error"], math.sqrt(variance))


def _both(of: str, told: dict[str, Any], expected: dict[str, Any]) -> Iterator[_Pair]:
    """A perplexity and its error, at the top and in the divergence."""
    yield _pair(f"{of}perplexity", told["perplexity"], expected["value"])
    error = expected["error"]
    slack = ENOUGH_OF_ERROR * abs(error)
    yield _Pair(f"{of}perplexity_error", told["perplexity_error"], error, slack)


def _pair(name: str, told: float, expected: float) -> _Pair:
    return _Pair(name, told, expected, ENOUGH * abs(expected))
