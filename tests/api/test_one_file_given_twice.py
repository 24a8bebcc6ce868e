"""A file that is given twice, by whatever names, is one model of a path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.layer_path.outside import OutsideBlocks
from tests.models.fine_tunes import fine_tune

Alias = Callable[[Path, Path], Path]


def _same(path: Path, _alias: Path) -> Path:
    return path


def _spelled_otherwise(path: Path, _alias: Path) -> Path:
    return Path(os.path.relpath(path))


def _symbolic_link(path: Path, alias: Path) -> Path:
    alias.symlink_to(path)
    return alias


def _hard_link(path: Path, alias: Path) -> Path:
    alias.hardlink_to(path)
    return alias


ALIASES = (_same, _spelled_otherwise, _symbolic_link, _hard_link)


@pytest.fixture
def first(stories: Path, tmp_path: Path) -> Path:
    path = tmp_path / "first.gguf"
    path.write_bytes(stories.read_bytes())
    return path


@pytest.mark.parametrize("alias_of", ALIASES)
def test_the_source_again_is_the_source(alias_of: Alias, first: Path, tmp_path: Path) -> None:
    """The file is that of the path over one model, which can be restored."""
    again = alias_of(first, tmp_path / "again.gguf")
    plan = gs.open(first).plan(gs.LayerPath("0..2,1:1..4"), others=[again])
    assert str(plan.layer_path) == "0..2,1..4" and not plan.planned.others
    alone = gs.open(first).plan(gs.LayerPath("0..2,1..4"))
    assert plan.planned.write_plan == alone.planned.write_plan
    gs.open(plan.write(tmp_path / "new.gguf")).restore(tmp_path / "restored.gguf")
    assert (tmp_path / "restored.gguf").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("alias_of", ALIASES)
def test_each_of_several_is_one_model(alias_of: Alias, first: Path, tmp_path: Path) -> None:
    """Blocks, and what is outside them, come from the index at which a file stands first."""
    second = fine_tune(first, tmp_path / "second.gguf")
    others = [second, alias_of(first, tmp_path / "a.gguf"), alias_of(second, tmp_path / "b.gguf")]
    outside = OutsideBlocks(embeddings=2, output=3, tokenizer=2)
    path = gs.LayerPath("0..1,1:2,2:1..2,3:3*0.5")
    plan = gs.open(first).plan(path, others=others, outside=outside)
    assert str(plan.layer_path) == "0..1,1:2,1..2,1:3*0.5"
    assert [other.path for other in plan.planned.others] == [second]
    expected = gs.open(first).plan(
        gs.LayerPath("0..1,1:2,1..2,1:3*0.5"),
        others=[second],
        outside=OutsideBlocks(embeddings=0, output=1, tokenizer=0),
    )
    assert plan.planned.write_plan == expected.planned.write_plan


def test_a_copy_is_another_model(first: Path, tmp_path: Path) -> None:
    """Equal bytes in another file: nothing says that they stay equal."""
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(first.read_bytes())
    plan = gs.open(first).plan(gs.LayerPath("0..2,1:1..4"), others=[copy])
    assert str(plan.layer_path) == "0..2,1:1..4"
