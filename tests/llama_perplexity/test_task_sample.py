"""Drawing some of the tasks; what is drawn is compared with the tool in test_choices.py."""

from __future__ import annotations

from ggufsurgeon.llama_perplexity.task_sample import take_lemire
from ggufsurgeon.multiple_choice.tasks import Task


def test_what_would_make_some_tasks_likelier_is_drawn_again() -> None:
    """2**32 is 3 * 1431655765 + 1: one number too many for three tasks of equal chances."""
    tasks = [Task(name, "", (), 0) for name in "abc"]
    numbers = iter([0, 1 << 31])
    assert take_lemire(tasks, lambda: next(numbers)).id == "b"
    assert [task.id for task in tasks] == ["a", "c"]
