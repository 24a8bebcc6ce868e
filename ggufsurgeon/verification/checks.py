"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None when it could not be looked at: unproven, which is no failure."""
    detail: str
    proven: str = ""
    """What is certain now that it holds, with a count; empty for nothing to count."""
