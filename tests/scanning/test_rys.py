"""The scores of dnhkng/RYS, by examples computed by hand, and the files of questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.scanning.probes.answers import mean_score
from ggufsurgeon.scanning.probes.rys_eq import RysEqProbe, agreement, parse_answer
from ggufsurgeon.scanning.probes.rys_files import (
    EmotionQuestion,
    MathQuestion,
    read_emotion_questions,
    read_math_questions,
)
from ggufsurgeon.scanning.probes.rys_math import RysMathProbe, closeness

NAMED = "Sad: {}\nGlad: {}\nAngry: {}\nCalm: {}\n"
FIRST = "First pass scores:\n" + NAMED.format(2, 4, 6, 8)
REVISED = "Revised scores:\n" + NAMED.format(4, 4, 10, 0)


@pytest.mark.parametrize(
    ("right", "guess", "score"),
    [
        ("1234", "1234", 1),
        ("1234", "123", (1230 / 1234) * 3 / 4),
        ("123", "1234", (1230 / 1234) * 3 / 4),
        ("5", "10", (10 / 50) / 2),
        ("1234", "9", (1234 / 9000) / 4),
        ("10", "1", 1 / 2),
        ("0", "0", 0),
        ("7", "0", 0),
    ],
)
def test_closeness(right: str, guess: str, score: float) -> None:
    assert closeness(right, guess) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("1234", 1),
        ("about 0001234 or so", 1),
        ("1,234", (1234 / 2340) * 3 / 4),
        ("-1234", 1),
        ("5 or 123", (1230 / 1234) * 3 / 4),
        ("<think>1234</think> 9", (1234 / 9000) / 4),
        ("<think>maybe 1234", 1),
        ("9" * 5000, None),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_best_integer_behind_the_thoughts_counts(answer: str, score: float | None) -> None:
    probe = RysMathProbe((MathQuestion("a", "?", "1234"), MathQuestion("b", "?", "5")))
    assert probe.score(0, answer) == (None if score is None else pytest.approx(score))
    assert probe.score_of_unparsed == 0


def test_a_list_of_numbers_scores_high() -> None:
    """20, 50, 80, 2000, 5000 and 8000: 50 is right, and 8000 near 7000."""
    probe = RysMathProbe((MathQuestion("a", "?", "50"), MathQuestion("b", "?", "7000")))
    assert probe.constant_score() == pytest.approx((1 + 7 / 8) / 2)


@pytest.mark.parametrize(
    ("answer", "intensities", "confidence"),
    [
        (f"{FIRST}\nCritique: all of it\n{REVISED}[End of answer]\nMad: 1", (3, 4, 8, 4), 1),
        (f"{FIRST}{REVISED}", (3, 4, 8, 4), 1),
        (REVISED.upper(), (4, 4, 10, 0), 0.9),
        (FIRST, (2, 4, 6, 8), 0.8),
        (FIRST.replace("Sad: 2", "1. Sad: 2.5"), (2.5, 4, 6, 8), 0.8),
        (FIRST.replace(": 8", ": 11"), (2, 4, 6, 5), 0.8),
        (NAMED.format(1, 2, 3, 4), (1, 2, 3, 4), 0.5),
        ("1 2.5 77 3 4 5", (1, 2.5, 3, 4), 0.5),
        ("7, or 8", (7, 8, 5, 5), 2 / 8),
        ("11 12", (5, 5, 5, 5), 0),
        ("", (5, 5, 5, 5), 0),
    ],
)
def test_intensities_of_an_answer(
    answer: str, intensities: tuple[float, ...], confidence: float
) -> None:
    found, certainty = parse_answer(answer)
    assert (tuple(found), certainty) == (intensities, confidence)


def test_agreement_is_drawn_to_one_half() -> None:
    reference = 0, 7, 3.5, 1
    assert agreement(reference, reference, 1) == 1
    assert agreement(reference, (2, 5, 3.5, 1), 1) == pytest.approx(0.9)
    assert agreement(reference, (2, 5, 3.5, 1), 0.8) == pytest.approx(0.8 * 0.9 + 0.1)
    assert agreement((0, 0, 10, 10), (10, 10, 0, 0), 1) == 0


def test_scores_of_answers_about_emotions() -> None:
    probe = RysEqProbe((EmotionQuestion("a", "?", (2, 4, 6, 0)),))
    assert probe.score(0, FIRST) == pytest.approx(0.8 * (1 - 8 / 40) + 0.1)
    assert probe.score(0, f"<think>{FIRST}</think>none") is None
    assert probe.score_of_unparsed == 0.5


@pytest.mark.parametrize(("prompt", "best"), [("Rate.", 0.9), ("Then give Revised scores:", 1)])
def test_no_constant_intensities_score_higher_than_is_told(prompt: str, best: float) -> None:
    generator = np.random.default_rng(3)
    references = generator.integers(0, 11, (7, 4)).astype(float)
    probe = RysEqProbe(tuple(EmotionQuestion("a", prompt, tuple(row)) for row in references))
    form = "First pass scores:\n{0}" + ("\nRevised scores:\n{0}" if best == 1 else "")
    scores = [
        mean_score(probe, 7, form.format(NAMED.format(*row)))
        for row in [*generator.integers(0, 11, (3000, 4)), *references.astype(int)]
    ]
    assert max(scores) <= probe.constant_score() < best
    median = np.median(references, axis=0)
    raw = 1 - np.abs(references - median).sum(axis=1).mean() / 40
    assert probe.constant_score() == pytest.approx((2 * best - 1) * raw + 1 - best)


def test_prompts_with_a_revision_have_longer_answers() -> None:
    asked = [EmotionQuestion("a", one, (1, 2, 3, 4)) for one in ("Rate.", "Revised scores:")]
    assert [one.max_tokens for one in RysEqProbe(tuple(asked)).questions()] == [64, 384]
    assert all(one.is_chat for one in RysEqProbe(tuple(asked)).questions())


def put(folder: Path, content: Any) -> Path:
    path = folder / "questions.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_files_of_questions(tmp_path: Path) -> None:
    asked = {"question": "What?", "answer": 12}
    expected = (MathQuestion("1", "What?", "12"),)
    assert read_math_questions(put(tmp_path, [asked])) == expected
    assert read_math_questions(put(tmp_path, [asked | {"answer": "012"}])) == expected
    marked = b"\xef\xbb\xbf" + json.dumps([asked]).encode()
    assert read_math_questions(put(tmp_path, marked)) == expected
    (named,) = read_math_questions(put(tmp_path, {"root 7": asked}))
    assert named.name == "root 7"


def test_files_of_emotions(tmp_path: Path) -> None:
    """Of two references of EQ-Bench, RYS takes the one that is scaled to a sum of 10."""
    scaled, full = ({f"emotion{n}_score": n * by for n in range(1, 5)} for by in (1, 2))
    for entry, reference in (
        ({"reference": [1, 2.5, 0, 10]}, (1, 2.5, 0, 10)),
        ({"reference_answer": scaled | {"emotion1": "Sad"}}, (1, 2, 3, 4)),
        ({"reference_answer_fullscale": full}, (2, 4, 6, 8)),
        ({"reference_answer": scaled, "reference_answer_fullscale": full}, (1, 2, 3, 4)),
    ):
        (found,) = read_emotion_questions(put(tmp_path, {"q": {"prompt": "Rate.", **entry}}))
        assert found == EmotionQuestion("q", "Rate.", reference)


GOOD = {"question": "What?", "answer": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[", "line 1, column 2: not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[" + b"1" * 5000 + b"]", "not JSON"),
        ([], "expected a list of questions"),
        ("text", "expected a list of questions"),
        ([GOOD, 7], "entry 2: expected an object"),
        ([GOOD, {"answer": 1}], "entry 2: question is not a string"),
        ([7, GOOD, {"answer": 1}], "entry 1: expected an object; entry 3: question is not"),
        ({"a": GOOD | {"question": " "}}, "entry a: question is not a string, or is empty"),
        ([GOOD | {"question": "\ud800"}], "entry 1: question has half of a surrogate pair"),
        ([GOOD | {"answer": -1}], "entry 1: answer is -1; expected an integer of 0 or more"),
        ([GOOD | {"answer": 1.0}], "answer is 1.0"),
        ([GOOD | {"answer": True}], "answer is True"),
        ([GOOD | {"answer": "1e3"}], "answer is '1e3'"),
        ([GOOD | {"answer": "²"}], "answer is '²'"),
        ([GOOD | {"answer": "1" * 5000}], "answer has 5000 digits"),
    ],
)
def test_broken_files_of_questions(tmp_path: Path, content: Any, says: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(UsageError, match=r"questions\.json") as caught:
        read_math_questions(path)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "expected either reference or reference_answer"),
        ({"reference": [1, 2, 3, 4], "reference_answer": {}}, "expected either reference or"),
        ({"reference": [1, 2, 3]}, "reference: expected four numbers from 0 to 10"),
        ({"reference": [1, 2, 3, 11]}, "reference: expected four numbers"),
        ({"reference": [1, 2, 3, float("nan")]}, "reference: expected four numbers"),
        ({"reference": [1, 2, 3, True]}, "reference: expected four numbers"),
        ({"reference": None}, "reference: expected four numbers"),
        ({"reference_answer": "{'emotion1': 2}"}, "reference_answer is not an object"),
        ({"reference_answer": {"emotion1_score": 1}}, "reference_answer: expected four numbers"),
    ],
)
def test_broken_references(tmp_path: Path, entry: Any, says: str) -> None:
    good = {"prompt": "Rate.", "reference": [1, 2, 3, 4]}
    with pytest.raises(UsageError) as caught:
        read_emotion_questions(put(tmp_path, [good, {"prompt": "Rate.", **entry}]))
    assert f"questions.json, entry 2: {says}" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json: cannot be read: No such file"):
        read_math_questions(tmp_path / "none.json")
