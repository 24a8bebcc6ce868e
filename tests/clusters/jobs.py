"""Jobs for workers of an executor."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.workers.session import Reporter, Session


def die_once_a_file(_session: Session, folder: Path, n_times: int, _: Reporter) -> int:
    """Abort the process so many times in all, and then return their number."""
    n_before = len(list(folder.iterdir()))
    if n_before < n_times:
        (folder / str(n_before)).touch()
        os.kill(os.getpid(), signal.SIGABRT)
    return n_before


def echo(_session: Session, fails_at: int | None, parts: Sequence[Any], _: Reporter) -> str:
    """The part as a text, unless it is one that fails."""
    (part,) = parts
    if part == fails_at:
        raise UsageError(f"number {part}")
    return str(part)
