"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `ok` is None when it could not be."""

    name: str
    ok: bool | None
    detail: str
