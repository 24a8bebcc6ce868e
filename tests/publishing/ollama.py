"""How Ollama reads a Modelfile: the rules of its parser (parser/parser.go, fb30760 of 2026-08).

A command is a word and a value, up to the end of the line; a value that begins with quotation
marks goes on to the next ones. Spaces at the ends and characters that are not printed are dropped.
"""

from __future__ import annotations

COMMANDS = {
    *("from", "license", "template", "system", "adapter", "draft", "renderer", "parser"),
    *("parameter", "message", "requires"),
}


def parse_modelfile(text: str) -> list[tuple[str, str]]:
    """The commands, in lower case, with their values. Raises ValueError where Ollama refuses."""
    found, rest = [], text
    while rest := rest.lstrip(" \t\r\n"):
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        name = rest[: len(rest) - len(rest.lstrip("".join(map(chr, range(65, 123)))))]
        rest = rest[len(name) :]
        if name.lower() not in COMMANDS or rest[:1] not in (" ", "\t"):
            raise ValueError("command must be one of those")
        value, rest = _value(rest[1:])
        found.append((name.lower(), value))
    if "from" not in dict(found):
        raise ValueError("no FROM line")
    return found


def _value(rest: str) -> tuple[str, str]:
    """The value, and what follows it: lines are added until quotation marks are closed."""
    lines = rest.split("\n")
    for n in range(1, len(lines) + 1):
        text = "\n".join(lines[:n])
        shown = "".join(c for c in text if c.isprintable() or c == "\n").strip(" \t\r\n")
        value = _unquoted(shown)
        if value is not None:
            return value, "\n".join(lines[n:])
    raise ValueError("unexpected EOF")


def _unquoted(text: str) -> str | None:
    for mark in ('"""', '"'):
        if text.startswith(mark):
            closed = len(text) >= 2 * len(mark) and text.endswith(mark)
            return text[len(mark) : -len(mark)] if closed else None
    return text
