"""Only the command line speaks of flags: a user of the library has none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ggufsurgeon

PACKAGE = Path(ggufsurgeon.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z]")
PIP = re.compile(r"pip install")
"""Commands of other programs have flags of their own."""


def strings(source: str) -> Iterator[str]:
    """String literals that may be shown; docstrings speak to readers of the code."""
    tree = ast.parse(source)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


@pytest.mark.parametrize(
    "module",
    sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "cli"),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_messages_name_no_flags(module: Path) -> None:
    found = [s for s in strings(module.read_text()) if FLAG.search(s) and not PIP.search(s)]
    assert not found


def test_a_flag_is_found() -> None:
    source = 'raise UsageError(f"use a smaller --ctx than {n}")\n"""A docstring of --ctx."""\n'
    assert [bool(FLAG.search(text)) for text in strings(source)] == [True]
