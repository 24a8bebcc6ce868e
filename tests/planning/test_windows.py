"""Judging every window with one set of rules against judging each with new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.errors import GgufSurgeonError, RefusedError
from ggufsurgeon.layer_path.notations import repeat_windows
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.windows import Judgement, judge_windows
from tests.conftest import ROOT

HEADERS = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))


def opened(path: Path) -> GgufFile:
    """A header as a file whose data is all there, as far as its size tells."""
    header, n_bytes = parse_header(path.read_bytes(), path.name)
    return GgufFile(path, header, n_bytes, "0" * 64, lay_out(header, n_bytes, 1 << 50, path.name))


def judged_one_by_one(file: GgufFile, blocks: Blocks) -> Iterator[Judgement]:
    for first in range(blocks.n_trunk):
        for end in range(first + 1, blocks.n_trunk + 1):
            path = repeat_windows(blocks.n_trunk, [(first, end)])
            try:
                edits = ModelRules(file, blocks).apply(path.blocks)
            except RefusedError as error:
                yield Judgement((first, end), (), str(error))
            else:
                notes = tuple(dict.fromkeys(edit.note for edit in edits if edit.note))
                yield Judgement((first, end), notes, None)


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.stem)
def test_windows_do_not_depend_on_those_judged_before(path: Path) -> None:
    file = opened(path)
    try:
        blocks = find_blocks(file)
    except GgufSurgeonError:
        pytest.skip("this file is not one whole model")
    assert list(judge_windows(file, blocks)) == list(judged_one_by_one(file, blocks))


def test_the_headers_show_every_judgement() -> None:
    files = [opened(path) for path in HEADERS]
    found = [window for file in files for window in _judged(file)]
    assert {bool(window.refusal) for window in found} == {True, False}
    assert any(window.notes for window in found)


def _judged(file: GgufFile) -> list[Judgement]:
    try:
        return list(judge_windows(file, find_blocks(file)))
    except GgufSurgeonError:
        return []
