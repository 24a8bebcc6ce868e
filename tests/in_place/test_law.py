"""The law: after a patch in place a file is, byte for byte, what a patch to a new file writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.in_place.methods import edit_in_place
from ggufsurgeon.planning.planner import plan_patch
from tests.conftest import ROOT
from tests.in_place.disks import (
    IMAGES,
    INSERTING,
    SHARING,
    disk,
    plan_that_inserts,
    skip_unless_inserting,
)
from tests.models.in_memory import opened, run, with_odd_padding
from tests.planning.drawing import models
from tests.planning.test_restoring import whole_paths
from tests.writing.plans import listing, result_of

few = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
HERE = "here"
DISKS = [HERE, *(pytest.param(name, marks=pytest.mark.slow) for name in (*IMAGES, "tmpfs"))]


@pytest.fixture(scope="module", params=DISKS)
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A folder on a file system, by its name; that of this machine too."""
    here = tmp_path_factory.mktemp("disk")
    if request.param == HERE:
        skip_unless_inserting(here)
        yield HERE, here
    else:
        with disk(request.param, here / "mounted") as mounted:
            inner = mounted / "models"
            inner.mkdir()
            yield request.param, inner


@few
@given(models(), whole_paths, st.booleans())
def test_in_place_is_a_new_file(
    folder: tuple[str, Path], data: bytes, blocks: list[int], odd: bool
) -> None:
    name, place = folder
    source = with_odd_padding(data) if odd else data
    path = place / "model.gguf"
    path.write_bytes(source)
    layers = gs.LayerPath.of(blocks)
    expected = run(plan_patch(opened(source), layers).write_plan, source)
    method = gs.open(path).plan(layers).write_in_place()
    assert listing(place) == {"model.gguf": expected}
    if method is None:
        assert layers == gs.LayerPath.identity(5)
        return
    if name in (HERE, *INSERTING):
        assert method.edit is not None, method.why_new_file
    elif name not in SHARING:  # where it depends on whether there are whole blocks to share
        assert method.edit is None or not method.n_bytes_inserted
    again = gs.LayerPath.of([*range(len(blocks)), 0])
    expected = run(plan_patch(opened(expected), again).write_plan, expected)
    gs.open(path).plan(again).write_in_place()
    assert listing(place) == {"model.gguf": expected}
    gs.open(path).restore(place / "restored")
    assert (place / "restored").read_bytes() == source
    (place / "restored").unlink()


@pytest.mark.parametrize("n_inserted", [0, 4096, 8192, 65536])
@pytest.mark.parametrize("n_behind", [0, 700, 5000])
def test_any_plan_over_one_file(folder: tuple[str, Path], n_inserted: int, n_behind: int) -> None:
    """Tails that read what they are written over, and headers that need no room."""
    _, place = folder
    path = place / "model.gguf"
    path.write_bytes(bytes(n % 251 for n in range(50_000)))
    plan = plan_that_inserts(path, n_behind=n_behind, n_inserted=n_inserted)
    spans = (*plan.spans, *plan.spans[-1:], *plan.spans[1:2] * 3)
    plan = type(plan)(plan.sources, plan.header, spans)
    expected = result_of(plan)
    edit_in_place(plan, path)
    assert listing(place) == {"model.gguf": expected}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARING)
def test_a_new_file_shares_blocks(tmp_path: Path, kind: str) -> None:
    """All that stays, and without a journal: nobody who has the file open is disturbed."""
    with disk(kind, tmp_path / "disk") as place:
        path = place / "model.gguf"
        path.write_bytes(ROOT.joinpath("fixtures/stories260K.gguf").read_bytes())
        plan = gs.open(path).plan(gs.repeat("1:3"))
        plan.write(place / "new.gguf")
        with path.open("rb"):
            method = plan.write_in_place()
        assert method is not None and method.edit is None and method.readers == ("this process",)
        assert method.n_bytes_shared > 1_160_000 and method.n_bytes_written < 400_000
        assert path.read_bytes() == (place / "new.gguf").read_bytes()
