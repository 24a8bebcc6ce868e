"""Paths over several models: where they begin and end, and which models do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.engine.context import Integers, Results
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import opened_router
from tests.models.expanding import expand_named
from tests.models.fine_tunes import fine_tune
from tests.routing.conftest import plain_logits

PATHS = [
    LayerPath(layers)
    for layers in (
        "0..4",
        "1:0..4",
        "0..2,1:3..4",
        "1:0..1,0..1,1:3..4,4",
        "1:3,0..3,1:4",
        "0*0.5,1..3,1:4*0.3",
        "1:0*0,0..4",
        "1:4*0.5,1:0..2,2..4",
    )
]
SIDES = [None, *(OutsideBlocks(*sides) for sides in product((0, 1), repeat=2))]


@pytest.fixture(scope="module")
def other(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    file = fine_tune(stories, tmp_path_factory.mktemp("tuned") / "other.gguf")
    with loaded_model(file, Devices()) as loaded:
        yield loaded


@pytest.mark.parametrize("outside", SIDES, ids=str)
def test_routed_is_written_whatever_it_begins_and_ends_in(
    model: Model, other: Model, tokens: Integers, tmp_path: Path, outside: OutsideBlocks | None
) -> None:
    """All paths share one router: states along the input of one model are not the other's."""
    sources = Sources((model, other), outside)
    with opened_router(sources, len(tokens)) as router:
        found = list(router.logits(tokens, PATHS))
    for path, logits in zip(PATHS, found, strict=True):
        assert np.array_equal(logits, _written(sources, path, tokens, tmp_path)), str(path)
        assert np.array_equal(route(sources, path).logits(tokens), logits), str(path)


def _written(sources: Sources, path: LayerPath, tokens: Integers, folder: Path) -> Results:
    first, *others = (model.path for model in sources.models)
    plan = gs.open(first).plan(path, others=others, outside=sources.outside)
    return plain_logits(plan.write(folder / "written.gguf", replace=True), tokens)


def test_text_is_generated_by_what_the_path_begins_and_ends_in(
    model: Model, other: Model, tokens: Integers, tmp_path: Path
) -> None:
    path, outside = LayerPath("0..1,1:2..4"), OutsideBlocks(1, 0)
    for sides in (None, outside):
        sources = Sources((model, other), sides)
        said = list(route(sources, path).generate(tokens, 12))
        read = np.concatenate([tokens, np.array(said, dtype=np.int32)])
        logits = _written(sources, path, read, tmp_path)
        assert said == [int(row.argmax()) for row in logits[len(tokens) - 1 : -1]]


def test_blocks_read_no_tokens_so_their_vocabulary_may_be_smaller(tmp_path: Path) -> None:
    """Tokens that the model of some blocks does not know are run through these all the same."""
    large, small = (
        expand_named(name, tmp_path / f"{name}.gguf")
        for name in ("qwen3-dense@words=stories260K", "qwen3-dense")
    )
    with loaded_model(large, Devices()) as first, loaded_model(small, Devices()) as second:
        assert second.n_vocab < first.n_vocab
        models = first, second
        tokens = np.arange(first.n_vocab - 24, first.n_vocab, dtype=np.int32)
        path = LayerPath("0..3,1:4..5,6..7")
        routed = route(models, path).logits(tokens)
        assert np.array_equal(routed, _written(Sources(models), path, tokens, tmp_path))
        refused = pytest.raises(RefusedError, match=r"the output of .* is of \d+ tokens, and the")
        with refused:
            route(models, LayerPath("0..3,1:4..7"))
