"""The commands of README and docs/ run, and print what is shown."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.circumstances import NotToBeHadError
from tests.docs.fences import Block, Command, blocks, difference
from tests.docs.made_files import make_files
from tests.docs.pages import PAGES
from tests.docs.running import (
    MODEL,
    SMOLLM2,
    WIKITEXT,
    furnish,
    run,
    run_command,
    run_failing,
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
    make_files(tmp_path, "".join(block.body for block in every))
    left_out = [why for block in every if (why := _run(block, tmp_path, page))]
    if left_out:
        pytest.skip("; ".join(left_out))


def _run(block: Block, folder: Path, page: Path) -> str:
    """Run a block; says why its last command could not be tried, where that is so."""
    where = f"{page.name}:{block.line}"
    if block.needs_harness and find_spec("lm_eval") is None:
        return f"{where}: needs the leaderboard extra"
    if block.kind == "python":
        run([sys.executable, "-c", block.body], folder, where)
        return ""
    fails = block.exit_code is not None
    *first, last = block.commands
    for command in first if fails else block.commands:
        _compare(command, run_command(command.text, folder, where), block, where)
    if not fails:
        return ""
    try:
        printed = run_failing(last.text, folder, where, block)
    except NotToBeHadError as error:
        return f"{where}: {error}"
    _compare(last, printed.result + printed.errors, block, where)
    return ""


def _compare(command: Command, out: str, block: Block, where: str) -> None:
    missing = difference(command.output, out, numbers_vary=block.numbers_vary)
    assert missing is None, f"{where}: {command.text}\nshows {missing}\nbut prints\n{out}"
