"""Strengths: the factors of what blocks add to the residual stream, and how they are written.

A strength is a number of 32 bits, since that is what a file holds. It is written as the shortest
decimal number that stands for it, so that printing and parsing agree.
"""

from __future__ import annotations

import math
import re
import struct

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError

FULL = 1.0
"""The strength of a block as it is."""

SMALLEST = 2.0**-126
"""The smallest normal number of 32 bits: some devices take smaller ones for 0."""

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


def strength_of(value: float, what: str = "strength") -> float:
    """The number of 32 bits that is nearest to a strength, or to another factor.

    `what` it is stands in messages. Raises UsageError unless it is 0 or greater and 32 bits can
    hold it.
    """
    if not value >= 0:  # NaN is not
        raise UsageError(
            f"a {what} of {value}: expected a number that is 0 or greater; 1 changes nothing"
        )
    rounded = _nearest(value)
    if math.isinf(rounded) or 0 < value < SMALLEST:
        raise UsageError(f"a {what} of {value}: 32-bit floating-point numbers cannot represent it")
    return rounded


def parse_strength(text: str, where: str, what: str = "strength") -> float:
    """The strength, or what else it is, in a text; `where` begins the message of an error.

    Raises UsageError for what is no number, and as `strength_of`.
    """
    if _NUMBER.fullmatch(text) is None:
        raise UsageError(
            f"{where}: {quoted(text)} is no {what}; expected a number that is 0 or greater, such "
            "as 0.5"
        )
    try:
        return strength_of(float(text), what)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def strength_text(strength: float) -> str:
    """The shortest decimal number that `parse_strength` reads as this strength."""
    texts = (f"{strength:.{n_digits}g}" for n_digits in range(1, 10))
    return next(text for text in texts if _nearest(float(text)) == strength)


def _nearest(value: float) -> float:
    """The nearest number of 32 bits; infinite beyond all of them."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.inf
    return float(rounded)
