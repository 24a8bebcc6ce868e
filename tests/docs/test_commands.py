"""The commands of README and docs/ run, and print what is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.fences import Block, Command, blocks, difference
from tests.docs.pages import PAGES
from tests.docs.running import (
    MODEL,
    SMOLLM2,
    WIKITEXT,
    furnish,
    run,
    run_command,
    uses_smollm2,
)


def _blocks(page: Path) -> list[Block]:
    return list(blocks(page.read_text("utf-8")))


def _case(page: Path) -> object:
    is_slow = any(block.is_slow or uses_smollm2(block) for block in _blocks(page))
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize("page", [_case(page) for page in PAGES if _blocks(page)])
def test_blocks_of_the_page_run(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    every = _blocks(page)
    models: dict[str, Path] = {}
    if any(uses_smollm2(block) for block in every):
        models |= dict.fromkeys((SMOLLM2, MODEL), request.getfixturevalue("smollm2"))
    if any(WIKITEXT in block.body for block in every):
        models[WIKITEXT] = request.getfixturevalue("wikitext")
    furnish(tmp_path, models)
    for block in every:
        where = f"{page.name}:{block.line}"
        if block.kind == "python":
            run([sys.executable, "-c", block.body], tmp_path, where)
        else:
            for command in block.commands:
                _check(command, block, tmp_path, where)


def _check(command: Command, block: Block, folder: Path, where: str) -> None:
    out = run_command(command.text, folder, where)
    missing = difference(command.output, out, numbers_vary=block.numbers_vary)
    assert missing is None, f"{where}: {command.text}\nshows {missing}\nbut prints\n{out}"
