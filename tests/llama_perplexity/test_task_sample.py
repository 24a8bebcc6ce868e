"""The draw of tasks. tests/multiple_choice/test_choices.py compares it with llama-perplexity's."""

from __future__ import annotations

import pytest

from ggufsurgeon.llama_perplexity.task_sample import draw, take_lemire


def test_numbers_that_would_favour_some_tasks_are_drawn_again() -> None:
    """2**32 is 3 * 1431655765 + 1: one number too many for three tasks of equal chances."""
    tasks = list("abc")
    numbers = iter([0, 1 << 31])
    assert take_lemire(tasks, lambda: next(numbers)) == "b"
    assert tasks == ["a", "c"]


@pytest.mark.parametrize(("as_hellaswag", "drawn"), [(True, (4, 9, 6, 8)), (False, (4, 8, 5, 6))])
def test_the_tasks_that_are_drawn(as_hellaswag: bool, drawn: tuple[int, ...]) -> None:
    """As a C++ program draws that has the loops of perplexity.cpp (780-842, 1098-1115)."""
    assert draw(range(10), 4, as_hellaswag=as_hellaswag) == drawn


@pytest.mark.parametrize("n", [None, 10, 11])
def test_all_tasks_stay_in_order(n: int | None) -> None:
    assert draw(range(10), n, as_hellaswag=True) == tuple(range(10))
