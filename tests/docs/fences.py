"""Fenced blocks of Markdown that run in the tests, and how outputs are compared.

A `console` block holds commands behind `$ `, each with the output that follows it; a command goes
on behind a backslash at the end of its line. A `python` block is run as a script, unless it needs
lm-evaluation-harness and that is not installed. Blocks of a page run in order, in one folder.
Blocks of other kinds (`text`, `sh`) are not run.

An output is compared word by word, numbers within 1 %. A line `...` stands for any lines, and `...`
at the end of a line for the rest of it, which depends on the machine. A command without an output
shown may print anything. Above a block, `<!-- test: WORDS -->` takes
these words, with commas between:

    slow            the block runs in the slow tests only
    numbers vary    numbers are not compared, such as speeds
    not run: WHY    the block does not run
    exit N          the last command ends with this exit code, and what it prints on standard error
                    follows its output; paths are those of a user who works in /home/you/models
    given: WHAT     the last command runs in one of the circumstances of circumstances.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FENCE = re.compile(
    r"(?:^<!-- test: (?P<words>.+?) -->\n+)?^```(?P<kind>\w*)[^\n]*\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
WORDS = {"slow", "numbers vary"}
EXIT = re.compile(r"exit (\d+)")
GIVEN = "given: "
ANYTHING = "..."
TOLERANCE = 0.01


@dataclass(frozen=True)
class Command:
    """A command of a console block, with the output shown below it."""

    text: str
    output: str


@dataclass(frozen=True)
class Block:
    """A fenced block that runs."""

    line: int
    """Its first line in the page, counted from 1."""
    kind: str
    body: str
    is_slow: bool
    numbers_vary: bool
    exit_code: int | None = None
    """Of the last command, whose errors are shown; None where it succeeds and they are not."""
    given: str = ""
    """The circumstance of the last command."""

    @property
    def needs_harness(self) -> bool:
        """Whether a Python block runs lm-evaluation-harness."""
        return self.kind == "python" and ("lm_eval" in self.body or ".leaderboard(" in self.body)

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block."""
        assert self.body.startswith("$ "), f"line {self.line}: a console block begins with $"
        return [_command(text) for text in re.split(r"^\$ ", self.body, flags=re.MULTILINE)[1:]]


def _command(text: str) -> Command:
    command, *rest = text.splitlines()
    while rest and command.endswith("\\"):
        command = command[:-1].rstrip() + " " + rest.pop(0).strip()
    return Command(command, "\n".join(rest).strip())


def blocks(markdown: str) -> Iterator[Block]:
    """The blocks of a page that run, in order. Raises ValueError for an unknown word above one."""
    for match in FENCE.finditer(markdown):
        words = [word.strip() for word in (match["words"] or "").split(",") if word.strip()]
        if any(word.startswith("not run:") for word in words):
            continue
        codes = [int(exit_[1]) for word in words if (exit_ := EXIT.fullmatch(word))]
        given = [word.removeprefix(GIVEN) for word in words if word.startswith(GIVEN)]
        unknown = [w for w in words if not (w in WORDS or EXIT.fullmatch(w) or w.startswith(GIVEN))]
        if unknown:
            raise ValueError(f"{unknown} is none of {WORDS}")
        if match["kind"] in ("console", "python"):
            yield Block(
                markdown.count("\n", 0, match.start("body")),
                match["kind"],
                match["body"],
                is_slow="slow" in words,
                numbers_vary="numbers vary" in words,
                exit_code=codes[0] if codes else None,
                given=given[0] if given else "",
            )


def difference(expected: str, actual: str, *, numbers_vary: bool = False) -> str | None:
    """The first expected line that is not in the output at its place; None when all are."""
    if not expected:
        return None
    lines = [_normal(line) for line in actual.splitlines() if line.strip()]
    place, may_skip = 0, False
    for shown in expected.splitlines():
        if shown.strip() == ANYTHING:
            may_skip = True
        elif shown.strip():
            found = _find(_normal(shown), lines, place, may_skip, numbers_vary)
            if found is None:
                return shown
            place, may_skip = found + 1, False
    return None if may_skip or place == len(lines) else f"(the end, before {lines[place]!r})"


def _find(
    shown: str, lines: Sequence[str], place: int, may_skip: bool, numbers_vary: bool
) -> int | None:
    end = len(lines) if may_skip else place + 1
    places = range(place, min(end, len(lines)))
    return next((i for i in places if _is_alike(shown, lines[i], numbers_vary)), None)


def _normal(line: str) -> str:
    """The line with single spaces, and rules of tables, which follow widths, of one length."""
    return re.sub(r"[─━-]{4,}", "────", " ".join(line.split()))


def _is_alike(shown: str, line: str, numbers_vary: bool) -> bool:
    if shown.endswith(ANYTHING):
        shown = shown.removesuffix(ANYTHING)
        line = line[: len(shown)]
    if NUMBER.sub("#", shown) != NUMBER.sub("#", line):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(line), strict=True)
    return numbers_vary or all(_is_near(_value(a), _value(b)) for a, b in pairs)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _is_near(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))
