"""Blocks with strengths and factors, routed over aliased models: as written, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.context import Batch, Integers, as_flags
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import opened_router
from tests.calls import patch
from tests.models.expanding import expand_named
from tests.routing.conftest import Written, plain_logits
from tests.verification.matrix import results_of

PATHS = [
    "0..2,1..2*0.5,3..4",
    "0,1..2*0.5,1..2*0.5,3..4",
    "0..4*0.3",
    "0*0.5,1..4",
    "0..3,4*0.25",
    "0..3,4*0",
    "4*0.7,0..1*2,1*0,0*0.5,3..4*0.1",
    "0..2,1..2*attn_q=0.84*attn_k=0.84,3..4",
    "0..4*attn_q=0.5",
    "0..2,1..2*0.5*attn_k=0.7,1..2*attn_output=0.3,3..4*ffn_down=0*attn_output=0",
]


@pytest.mark.parametrize("text", PATHS)
def test_one_path(model: Model, tokens: Integers, written: Written, text: str) -> None:
    path = LayerPath(text)
    assert np.array_equal(route(model, path).logits(tokens), written(path, tokens))


def test_many_paths_share_states(model: Model, tokens: Integers, written: Written) -> None:
    paths = [LayerPath.identity(5), *map(LayerPath, PATHS), LayerPath("0..1,1..4")]
    expected = [written(path, tokens) for path in paths]
    with opened_router([model], len(tokens)) as router:
        for _ in range(2):  # states are kept
            found = list(router.logits(tokens, paths))
            assert all(map(np.array_equal, found, expected))
        pieces = Batch.of(tokens, as_flags(None, len(tokens))).parts(10)
        streamed = [np.array(decoded.logits) for decoded in router.stream(pieces, paths)]
    for n, logits in enumerate(expected):
        rows = np.concatenate(streamed[n * len(pieces) : (n + 1) * len(pieces)])
        assert np.allclose(rows, logits, atol=1e-3)  # batches of 10 round otherwise


def test_paths_of_several_strengths_in_one_batch(model: Model, tokens: Integers) -> None:
    paths = list(map(LayerPath, PATHS))
    with opened_router([model], len(tokens), n_parallel=3) as router:
        together = list(router.logits(tokens, paths))
    with opened_router([model], len(tokens)) as router:
        alone = list(router.logits(tokens, paths))
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one, other, atol=1e-3)  # it rounds otherwise


def test_where_more_than_the_residual_stream_reaches_others_it_is_refused(tmp_path: Path) -> None:
    source = expand_named("glm-dsa-moe", tmp_path / "model.gguf")
    with loaded_model(source, Devices()) as loaded:
        path = LayerPath.of(range(loaded.n_blocks), strength=0.5)
        with pytest.raises(RefusedError, match="cannot have strengths or factors"):
            route(loaded, path)


def test_biases_of_queries_and_keys_are_multiplied(tmp_path: Path) -> None:
    source = expand_named("qwen2-dense", tmp_path / "model.gguf")
    tokens = np.arange(32, dtype=np.int32)
    path = LayerPath("0..4,3..4*attn_q=0.84*attn_k=0.5,5..6,7*attn_k=3")
    patch(source, tmp_path / "patched.gguf", path)
    expected = plain_logits(tmp_path / "patched.gguf", tokens)
    with loaded_model(source, Devices()) as loaded:
        assert np.array_equal(route(loaded, path).logits(tokens), expected)
        with alias(loaded, path) as aliased:
            assert np.array_equal(results_of(aliased, tokens), expected)


def test_an_architecture_without_strengths_is_refused(tmp_path: Path) -> None:
    source = expand_named("gemma3-dense", tmp_path / "model.gguf")
    with loaded_model(source, Devices()) as loaded, pytest.raises(RefusedError, match="gemma3"):
        route(loaded, LayerPath("0..6,7*0.5"))


def test_blocks_that_can_have_no_strength_do_not_hinder_others(tmp_path: Path) -> None:
    """Block 0 has a bias behind its attention, which no scale multiplies; block 1 has none."""
    source = expand_named("nemotron_h-dense", tmp_path / "model.gguf")
    tokens = np.arange(32, dtype=np.int32)
    path = LayerPath("0..1,1*0.5,2..7")
    patch(source, tmp_path / "patched.gguf", path)
    with loaded_model(source, Devices()) as loaded:
        assert np.array_equal(
            route(loaded, path).logits(tokens), plain_logits(tmp_path / "patched.gguf", tokens)
        )
        with pytest.raises(RefusedError, match=r"block 0 has the tensor 'attn_output\.bias'"):
            route(loaded, LayerPath("0*0.5,1..7"))
