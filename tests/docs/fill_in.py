"""Writes what commands that fail print into the page that shows them.

    python -m tests.docs.fill_in docs/when-something-goes-wrong.md

To add an error to the page, write a block with its command alone and `exit N` above it, and run
this: the message follows. Blocks whose output is right stay as they are. Of what a command prints
on standard output, `...` is left.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from tests.docs.circumstances import NotToBeHadError
from tests.docs.fences import Block, blocks, difference
from tests.docs.made_files import make_files
from tests.docs.running import furnish, run_command, run_failing


def fill_in(page: Path) -> None:
    """Run the failing commands of a page in order, and write the page."""
    markdown = page.read_text("utf-8")
    failing = [block for block in blocks(markdown) if block.exit_code is not None]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder, {})
        make_files(folder, markdown)
        bodies = [_new(block, folder) for block in failing]
    lines = markdown.splitlines(keepends=True)
    for block, body in reversed(list(zip(failing, bodies, strict=True))):
        lines[block.line : block.line + block.body.count("\n")] = [body]
    page.write_text("".join(lines), "utf-8")


def _new(block: Block, folder: Path) -> str:
    *first, last = block.commands
    where = f"line {block.line}"
    for command in first:
        run_command(command.text, folder, where)
    try:
        printed = run_failing(last.text, folder, where, block)
    except NotToBeHadError as error:
        print(f"{where}: {error}", file=sys.stderr)
        return block.body
    whole = printed.result + printed.errors
    if last.output and difference(last.output, whole, numbers_vary=block.numbers_vary) is None:
        return block.body
    shown = "...\n" * bool(printed.result) + printed.errors
    start = block.body.rindex("$ ggufsurgeon ")
    typed, *_ = re.split(r"(?<!\\)\n", block.body[start:])
    return f"{block.body[:start]}{typed}\n{shown.rstrip()}\n"


if __name__ == "__main__":
    fill_in(Path(sys.argv[1]))
