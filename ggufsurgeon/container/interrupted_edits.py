"""The journal that lies beside a model while it is edited in place, and stays when that is broken
off: its name, and the refusal of models that have one."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ggufsurgeon.errors import InterruptedEditError

SUFFIX = ".ggufsurgeon-journal"


def journal_path(model: Path) -> Path:
    """Where the journal of a model is, links followed."""
    target = Path(os.path.realpath(model))
    return target.with_name(target.name + SUFFIX)


def recover_command(model: Path) -> str:
    """What to type to undo or finish the edit of a model."""
    target = Path(os.path.realpath(model)) if model.is_symlink() else model
    return shlex.join(["ggufsurgeon", "recover", str(target)])


def check_not_interrupted(model: Path) -> None:
    """Raise InterruptedEditError for a model with a journal: it may be between two states, even
    where its header can be read."""
    journal = journal_path(model)
    if os.path.lexists(journal):
        raise InterruptedEditError(
            f"{model}: an edit in place was interrupted, or is running: {journal.name} is beside "
            "it",
            hint=f"Undo or finish the edit: {recover_command(model)}",
        )
