"""Factors of single weights of a block, and how they are written: `attn_q=0.84*attn_k=0.84`.

A factor multiplies the product of a weight, as if the weight itself were multiplied by it. It is a
number like a strength, and follows it in a range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.strengths import FULL, parse_strength, strength_of, strength_text

FACTOR_NAMES = ("attn_q", "attn_k", "attn_output", "ffn_down")
"""Weights that can have a factor, by llama.cpp's names of their tensors within a block, in order.
In a block of experts, `ffn_down` is that of all of them."""
LAST_FACTORS = ("attn_output", "ffn_down")
"""Those of weights whose products are added to the residual stream."""
Factors: TypeAlias = tuple[tuple[str, float], ...]
"""Names of weights with their factors, in the order of `FACTOR_NAMES`, without those that are 1."""


def factors_of(values: Mapping[str, float]) -> Factors:
    """The factors of weights by name, each as the nearest number of 32 bits.

    Raises UsageError for another name, and as `strength_of`.
    """
    for name in values:
        if name not in FACTOR_NAMES:
            raise UsageError(
                f"{quoted(name)} cannot have a factor: only {', '.join(FACTOR_NAMES)} can"
            )
    rounded = {name: strength_of(value, "factor") for name, value in values.items()}
    return tuple((n, rounded[n]) for n in FACTOR_NAMES if rounded.get(n, FULL) != FULL)


def product_of(one: Factors, other: Factors) -> Factors:
    """The factors of both, multiplied. Raises UsageError where a product is none."""
    first, second = dict(one), dict(other)
    return factors_of({n: first.get(n, FULL) * second.get(n, FULL) for n in first | second})


def parse_multipliers(text: str, where: str) -> tuple[float, Factors]:
    """The strength and the factors in a text such as `0.5*attn_q=0.84`; both may be missing.

    `where` begins the message of an error. Raises UsageError for another text, and for a weight
    that is named twice.
    """
    first, *rest = parts = [part.strip() for part in text.split("*")]
    strength = FULL
    if "=" not in first:
        strength, parts = parse_strength(first, where), rest
    values: dict[str, float] = {}
    for part in parts:
        name, equals, number = (text.strip() for text in part.partition("="))
        if not equals:
            raise UsageError(
                f"{where}: {quoted(part)} is not a factor of a weight, like attn_q=0.84"
            )
        if name in values:
            raise UsageError(f"{where}: {quoted(name)} has two factors")
        values[name] = parse_strength(number, where, "factor")
    try:
        return strength, factors_of(values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def multipliers_text(strength: float, factors: Factors) -> str:
    """What `parse_multipliers` reads as these, behind a `*`; nothing for a block as it is."""
    parts = [] if strength == FULL else [strength_text(strength)]
    parts += (f"{name}={strength_text(factor)}" for name, factor in factors)
    return "".join(f"*{part}" for part in parts)
