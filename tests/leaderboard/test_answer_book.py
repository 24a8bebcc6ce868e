"""Answers that a store keeps: when they are committed, what comes back, what is refused."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.leaderboard.answer_book import SECONDS, AnswerBook
from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    GenerationRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
)
from ggufsurgeon.leaderboard.results import AnswerCounts, count_answers
from ggufsurgeon.store.store import opened_store
from tests.store.test_answers import KEY

PATH = "0..4,3..4"
REQUESTS: tuple[EvaluationRequest, ...] = (
    LikelihoodRequest("context", " a"),
    LikelihoodRequest("context", " b"),
    GenerationRequest("context", ("\n",), 5),
    GenerationRequest("context", ("\n",), 6),
)
ANSWERS: tuple[EvaluationAnswer, ...] = (
    LikelihoodAnswer(-1 / 3, True, 0),
    LikelihoodAnswer(math.nan, False, 7),
    GenerationAnswer("a text \udcff", 5, True, 0),
    GenerationAnswer(None, 0, False, 3),
)


def same(one: EvaluationAnswer, other: EvaluationAnswer) -> bool:
    """Equal, where NaN is equal to NaN."""
    return repr(one) == repr(other)


def test_answers_come_back_from_a_store(tmp_path: Path) -> None:
    with opened_store(tmp_path / "store") as store:
        book = AnswerBook(REQUESTS, store.answers(KEY))
        assert book.missing(PATH) == (0, 1, 2, 3)
        with book.taking():
            for number in (0, 1, 3):
                book.add(PATH, number, ANSWERS[number])
        assert book.missing(PATH) == (2,)
    with opened_store(tmp_path / "store") as store:
        # Requests have no numbers in a store: other runs ask in another order.
        again = AnswerBook(REQUESTS[::-1], store.answers(KEY))
        assert again.missing(PATH) == (1,) and again.missing("0..4") == (0, 1, 2, 3)
        found = again.answers(PATH)
    assert all(same(found[REQUESTS[n]], ANSWERS[n]) for n in (0, 1, 3))
    assert REQUESTS[2] not in found


def test_without_a_store_answers_are_known_while_the_book_is() -> None:
    book = AnswerBook(REQUESTS, None)
    with book.taking():
        book.add(PATH, 2, ANSWERS[2])
    assert book.missing(PATH) == (0, 1, 3)
    assert book.answers(PATH) == {REQUESTS[2]: ANSWERS[2]}


def test_answers_are_committed_when_they_have_waited(tmp_path: Path) -> None:
    """What a process that is killed now would leave."""
    now = [0.0]

    def n_kept() -> int:
        with closing(sqlite3.connect(tmp_path / "store")) as database:
            return int(database.execute("SELECT count(*) FROM answer").fetchone()[0])

    with opened_store(tmp_path / "store") as store:
        book = AnswerBook(REQUESTS, store.answers(KEY), lambda: now[0])
        with pytest.raises(KeyboardInterrupt), book.taking():
            book.add(PATH, 0, ANSWERS[0])
            now[0] += SECONDS / 2
            book.add(PATH, 1, ANSWERS[1])
            assert n_kept() == 0
            now[0] += SECONDS / 2
            book.add(PATH, 2, ANSWERS[2])
            assert n_kept() == 3
            book.add(PATH, 3, ANSWERS[3])
            assert n_kept() == 3
            raise KeyboardInterrupt
        assert n_kept() == 4, "what waits is committed at the end, however it comes"


def test_the_answer_that_another_process_added_first_counts(tmp_path: Path) -> None:
    """So that all runs with this store give one table."""
    with opened_store(tmp_path / "store") as store:
        first, second = (AnswerBook(REQUESTS, store.answers(KEY)) for _ in range(2))
        assert first.missing(PATH) == second.missing(PATH)
        for book, value in ((first, -1.0), (second, -2.0)):
            with book.taking():
                book.add(PATH, 0, LikelihoodAnswer(value, False, 0))
        for book in (first, second):
            assert book.answers(PATH) == {REQUESTS[0]: LikelihoodAnswer(-1.0, False, 0)}


@pytest.mark.parametrize(
    "values", ["[]", '["a text", 5, true, 0]', "[-1, true, 0]", '[-1.0, "yes", 0]', "[-1.0, true]"]
)
def test_an_answer_of_another_kind_is_a_damaged_store(tmp_path: Path, values: str) -> None:
    with opened_store(tmp_path / "store") as store:
        book = AnswerBook(REQUESTS, store.answers(KEY))
        with book.taking():
            book.add(PATH, 0, ANSWERS[0])
    with closing(sqlite3.connect(tmp_path / "store")) as database:
        database.execute("UPDATE answer SET answer = ?", (values,))
        database.commit()
    with opened_store(tmp_path / "store") as store, pytest.raises(RefusedError, match="damaged"):
        AnswerBook(REQUESTS, store.answers(KEY)).missing(PATH)


def test_counts() -> None:
    assert count_answers(ANSWERS) == AnswerCounts(
        n_answers=4, n_cut=2, n_not_finite=2, n_generated=2, n_at_limit=1
    )


def test_answers_that_are_infinite_are_counted_as_those_that_are_no_number() -> None:
    """A store keeps both alike, and both are scored as wrong."""
    answers = [LikelihoodAnswer(value, False, 0) for value in (-1.0, -math.inf, math.nan)]
    assert count_answers(answers).n_not_finite == 2
