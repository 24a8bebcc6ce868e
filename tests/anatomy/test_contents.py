"""The contents and the pairs that ship with the package, and files of pairs."""

from __future__ import annotations

import base64
from itertools import combinations
from pathlib import Path

import pytest

from ggufsurgeon.anatomy.contents import CLOTHES, MOST_CONTENTS, draw_contents
from ggufsurgeon.anatomy.pairs import PromptPair, own_pairs, parse_pairs, read_pairs
from ggufsurgeon.errors import UsageError

GOOD = b'{"clean": "a", "corrupt": "b", "answer": " c", "other": " d", "more": 1}'


def test_contents_have_all_forms() -> None:
    for content in draw_contents(MOST_CONTENTS, 3):
        texts = dict(zip(CLOTHES, content.texts, strict=True))
        plain = texts["English"].encode()
        assert base64.b64decode(texts["Base64"]) == plain == bytes.fromhex(texts["hex"])
        assert len(set(content.texts)) == len(CLOTHES) and content.label == texts["English"]
        assert "~" not in "".join(content.texts) and "|" not in "".join(content.texts)
        assert texts["code"].isascii() and texts["code"].count("(") == 1


def test_a_seed_draws_the_same_contents() -> None:
    assert draw_contents(8, 1) == draw_contents(8, 1) == draw_contents(24, 1)[:8]
    assert draw_contents(8, 1) != draw_contents(8, 2)


def test_contents_share_no_phrase_but_the_time() -> None:
    texts = [content.texts[4] for content in draw_contents(MOST_CONTENTS, 0)]
    parts = [text.partition(", time=")[0].replace("(place=", ".").split(".") for text in texts]
    for one, other in combinations(parts, 2):
        assert len(one) == 3 and not set(one) & set(other)


@pytest.mark.parametrize("n", [3, 25, 0, -1])
def test_other_numbers_of_contents(n: int) -> None:
    with pytest.raises(UsageError, match="expected 4 to 24"):
        draw_contents(n, 0)


def test_own_pairs_are_pairs() -> None:
    pairs = own_pairs()
    assert len(set(pairs)) == len(pairs) >= 10
    for pair in pairs:
        assert pair.clean != pair.corrupt and pair.answer != pair.other
        assert pair.answer.startswith(" ") and not pair.clean.endswith(" ")


def test_a_file_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\n" + GOOD + b"\r\n\n" + GOOD)
    assert read_pairs(path) == (PromptPair("a", "b", " c", " d"),) * 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "it has no pairs"),
        (b"{", "line 1: this is not a JSON object"),
        (b"\xff\xfe", "line 1: this is not a JSON object"),
        (b"[" * 100_000, "line 1: this is not a JSON object"),
        (b"[1]", "expected a JSON object with the non-empty strings clean, corrupt, answer, other"),
        (GOOD.replace(b'" c"', b"3"), "expected a JSON object with the non-empty strings"),
        (GOOD.replace(b'" c"', b'""'), "non-empty strings"),
        (GOOD.replace(b'" c"', b'"\\ud800"'), "non-empty strings"),
        (GOOD.replace(b"clean", b"klean"), "expected a JSON object with the non-empty strings"),
        (GOOD + b"\n{}", "pairs.jsonl, line 2: expected"),
    ],
)
def test_files_that_have_no_pairs(line: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_pairs(line, "pairs.jsonl")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_pairs(path)
