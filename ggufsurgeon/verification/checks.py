"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A check and what it found."""

    name: str
    ok: bool | None
    """None when the check could not be made: unproven, which is no failure."""
    detail: str
    proven: str = ""
    """What a passed check proves, with a count; empty where there is nothing to count."""
