"""Files of tasks that a command reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.errors import UsageError
from ggufsurgeon.multiple_choice.tasks import TaskFormat

if TYPE_CHECKING:
    from ggufsurgeon.multiple_choice.tasks import Task

OPTION = "name that with --format"
ONLY_JSONL = "ggufsurgeon choose reads it; a scan reads lines of JSON alone"


def tasks_of(
    path: Path, task_format: TaskFormat = TaskFormat.JSONL, *, hint: str = OPTION
) -> tuple[Task, ...]:
    """The tasks of a file. `hint` is what this command does about another format.

    Raises what `read_tasks` raises.
    """
    from ggufsurgeon.multiple_choice.task_files import NAME_FORMAT, read_tasks

    try:
        return read_tasks(path, task_format)
    except UsageError as error:
        error.hint = error.hint.replace(NAME_FORMAT, hint)
        raise
