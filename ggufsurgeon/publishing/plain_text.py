"""Strings that a file contains, as text in Markdown and as scalars in YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ggufsurgeon.container.quoting import printable

LONGEST = 200
"""Characters of a string that are shown; names and licences are shorter."""
MARKUP = re.compile(r"[!-'*+/:-@\[-`{-~]|(?<=www)\.", re.IGNORECASE)
"""ASCII punctuation but for `(),-.`, which mean nothing within a line unless something else does:
links have brackets, which are escaped, and bare links of GitHub's dialect begin with `www.`, or
have a colon or an `@`."""
Scalar: TypeAlias = "str | Sequence[str]"


def one_line(text: str) -> str:
    """The text in one line of limited length, with escapes for what is not printed."""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return printable(short).strip()


def markdown_text(text: str) -> str:
    """The text in one line of Markdown, in which no character is markup, HTML or a link.

    A backslash before any ASCII punctuation makes it literal (CommonMark 0.31.2, section 2.4), also
    in the cells of tables. The text must not begin a line, where more characters are markup.
    """
    return MARKUP.sub(r"\\\g<0>", one_line(text))


def yaml_mapping(values: Mapping[str, Scalar]) -> str:
    """A block mapping of YAML; keys are plain, values are strings or lists of strings.

    Strings are written as JSON has them, which are double-quoted scalars of YAML (YAML 1.2.2,
    section 7.3.1). Characters beyond ASCII stay as they are, since YAML has no surrogates.
    """
    lines = []
    for key, value in values.items():
        if isinstance(value, str):
            lines.append(f"{key}: {_quoted(value)}")
        else:
            lines += [f"{key}:", *(f"- {_quoted(each)}" for each in value)]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(one_line(text), ensure_ascii=False)
