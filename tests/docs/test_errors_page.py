"""The page about errors has every exit code, and an error for each; and how it is filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ggufsurgeon.cli.app import EXIT_CODES
from ggufsurgeon.errors import GgufSurgeonError
from tests.conftest import ROOT
from tests.docs.circumstances import CIRCUMSTANCES
from tests.docs.fences import blocks
from tests.docs.fill_in import fill_in
from tests.docs.made_files import LARGE, MADE

PAGE = ROOT / "docs/when-something-goes-wrong.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = list(blocks(TEXT))
A_BUG = 1


def exit_codes(kind: type[GgufSurgeonError] = GgufSurgeonError) -> set[int]:
    """Of a class of errors and all that are made from it."""
    return {kind.exit_code}.union(*(exit_codes(one) for one in kind.__subclasses__()))


def test_every_exit_code_is_in_the_table() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert listed == exit_codes() | {0}
    told = re.findall(r"\b(\d) [a-z]", EXIT_CODES)
    assert {int(code) for code in told} == listed


def test_every_exit_code_has_an_error_that_runs() -> None:
    assert exit_codes() - {A_BUG} <= {block.exit_code for block in BLOCKS}


def test_every_error_has_its_message() -> None:
    for block in BLOCKS:
        assert block.exit_code is not None, f"line {block.line}: it does not fail"
        said = block.commands[-1].output
        assert re.search(r"^(error|warning): ", said, re.MULTILINE), f"line {block.line}: {said}"


def test_files_and_circumstances_are_used() -> None:
    assert {block.given for block in BLOCKS} == set(CIRCUMSTANCES)
    assert all(name in TEXT for name in (*MADE, LARGE))


@pytest.mark.parametrize("old", ["", "error: what it said once\n"])
def test_messages_are_filled_in(tmp_path: Path, old: str) -> None:
    page = tmp_path / "page.md"
    block = "<!-- test: exit {} -->\n```console\n$ ggufsurgeon inspect {}\n{}```\n"
    hint = "  The download may be incomplete: compare the file's size with the original's.\n"
    right = block.format(3, "empty.gguf", f"error: empty.gguf: the file is empty\n{hint}")
    missing = "error: no.gguf: cannot be opened: No such file or directory\n"
    page.write_text(f"# Page\n\n{right}\n{block.format(2, 'no.gguf', old)}\nText.\n")
    fill_in(page)
    assert page.read_text() == f"# Page\n\n{right}\n{block.format(2, 'no.gguf', missing)}\nText.\n"
