"""The journal of an edit in place, which stays beside the model if the edit is interrupted.

This module has its name, and the refusal of models that have a journal.
"""

from __future__ import annotations

import os
from pathlib import Path

from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import InterruptedEditError

SUFFIX = ".ggufsurgeon-journal"


def journal_path(model: Path) -> Path:
    """The path of the journal of a model, with links followed."""
    target = Path(os.path.realpath(model))
    return target.with_name(target.name + SUFFIX)


def recover_command(model: Path) -> str:
    """The command that undoes or finishes the edit of a model."""
    target = Path(os.path.realpath(model)) if model.is_symlink() else model
    return shell_command("ggufsurgeon", "recover", target)


def check_not_interrupted(model: Path) -> None:
    """Raise InterruptedEditError for a model with a journal: it may be incomplete even if its
    header can be read."""
    journal = journal_path(model)
    if os.path.lexists(journal):
        raise InterruptedEditError(
            f"{model}: an edit in place was interrupted, or is running: it has the journal "
            f"{journal.name}",
            hint=f"Undo or finish the edit: {recover_command(model)}",
        )
