"""How blocks are found, and how outputs are compared."""

from __future__ import annotations

import pytest

from tests.docs.fences import Command, blocks, difference

PAGE = r"""
<!-- test: slow, numbers vary -->
```console
$ one --x 1 \
    --y 2
out 1
$ two
```

```sh
not run
```

```python
print(1)
```

<!-- test: not run: it deletes everything -->
```console
$ rm -r .
```
"""


def test_blocks_of_a_page() -> None:
    console, python = blocks(PAGE)
    assert console.commands == [Command("one --x 1 --y 2", "out 1"), Command("two", "")]
    assert (console.is_slow, console.numbers_vary, console.line) == (True, True, 3)
    assert (python.kind, python.body, python.is_slow) == ("python", "print(1)\n", False)


def test_blocks_of_commands_that_fail() -> None:
    (block,) = blocks(
        "<!-- test: exit 5, given: the disk is full -->\n```console\n$ a\n$ b\nerror: no\n```\n"
    )
    assert (block.exit_code, block.given) == (5, "the disk is full")
    assert block.commands == [Command("a", ""), Command("b", "error: no")]


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="quick"):
        list(blocks(PAGE.replace("slow", "quick")))


@pytest.mark.parametrize(
    ("expected", "actual", "first"),
    [
        ("", "anything", None),
        ("a  b\n──────", "a b\n──", "──────"),
        ("a  b\n──────", " a   b\n─────────", None),
        ("a\n...\nd", "a\nb\nc\nd", None),
        ("a\n...", "a\nb", None),
        ("a\n...\ne", "a\nb\nc\nd", "e"),
        ("a\nb", "b\na", "a"),
        ("a", "a\nb", "(the end, before 'b')"),
        ("perplexity 40.27 +/- 2.93", "perplexity 40.28 +/- 2.92", None),
        ("perplexity 40.27", "perplexity 41.27", "perplexity 40.27"),
        ("98,362,432 bytes", "98,362,433 bytes", None),
        ("-1.5 %", "1.5 %", "-1.5 %"),
    ],
)
def test_outputs_are_compared_by_words_and_numbers(
    expected: str, actual: str, first: str | None
) -> None:
    assert difference(expected, actual) == first


def test_numbers_that_vary_are_not_compared_but_words_are() -> None:
    assert difference("10 tokens/s", "70 tokens/s", numbers_vary=True) is None
    assert difference("10 tokens/s", "70 words/s", numbers_vary=True) == "10 tokens/s"


def test_python_blocks_that_need_the_harness() -> None:
    bodies = ["import lm_eval\n", "lm.leaderboard()\n", "lm.anatomy()\n"]
    page = "\n".join(f"```python\n{body}```\n" for body in bodies)
    assert [block.needs_harness for block in blocks(page)] == [True, True, False]
