"""The same content in different forms: sentences in four languages, code, Base64 and hex.

A content says who did what, where and when. A seed draws the phrases, of which no two contents
share who, what or where, so that other contents serve as control. The phrases were written for
ggufsurgeon.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from ggufsurgeon.errors import UsageError

ENGLISH = "English"
LANGUAGES = (ENGLISH, "German", "French", "Spanish")
CODE, BASE64, HEX = "code", "Base64", "hex"
CLOTHES = (*LANGUAGES, CODE, BASE64, HEX)
"""The forms of each content, in order."""
MOST_CONTENTS = 24
"""The number of phrases of each kind but `when`."""
LEAST_CONTENTS = 4
DEFAULT_N_CONTENTS = 20


@dataclass(frozen=True)
class Content:
    """One content in all forms."""

    texts: tuple[str, ...]
    """One for each form, in the order of CLOTHES."""

    @property
    def label(self) -> str:
        """The content in English."""
        return self.texts[0]


def draw_contents(n: int, seed: int) -> tuple[Content, ...]:
    """Draw `n` contents by a seed. Raises UsageError for fewer than 4 or more than 24."""
    if not LEAST_CONTENTS <= n <= MOST_CONTENTS:
        raise UsageError(f"{n} contents: expected {LEAST_CONTENTS} to {MOST_CONTENTS}")
    phrases = _phrases()
    generator = random.Random(seed)
    drawn = {kind: generator.sample(of_kind, len(of_kind)) for kind, of_kind in phrases.items()}
    times = drawn["when"]
    return tuple(
        Content(tuple(_dressed(times[k % len(times)], *(drawn[one][k] for one in _PARTS))))
        for k in range(n)
    )


_PARTS = ("who", "what", "where")
_Phrase = tuple[str, ...]
"""A phrase in each of LANGUAGES."""


def _phrases() -> dict[str, list[_Phrase]]:
    text = files(__package__).joinpath("phrases.txt").read_text(encoding="utf-8")
    found: dict[str, list[_Phrase]] = {}
    for line in text.splitlines():
        kind, *phrase = (part.strip() for part in line.split("|"))
        found.setdefault(kind, []).append(tuple(phrase))
    return found


def _dressed(when: _Phrase, who: _Phrase, what: _Phrase, where: _Phrase) -> Iterator[str]:
    for language, *parts in zip(LANGUAGES, when, who, what, where, strict=True):
        yield _german(*parts) if language == "German" else _sentence(*parts)
    yield _code(when[0], who[0], what[0], where[0])
    plain = _sentence(when[0], who[0], what[0], where[0]).encode()
    yield base64.b64encode(plain).decode("ascii")
    yield plain.hex()


def _sentence(when: str, who: str, what: str, where: str) -> str:
    return f"{when}, {who} {what} {where}."


def _german(when: str, who: str, what: str, where: str) -> str:
    """In German the verb comes second; in the phrases it stands before `~`."""
    verb, _, rest = what.partition(" ~ ")
    return f"{when} {verb} {who} {rest} {where}."


def _code(when: str, who: str, what: str, where: str) -> str:
    names = [part.lower().replace(" ", "_") for part in (who, what, where, when)]
    return "{}.{}(place={}, time={})".format(*names)
