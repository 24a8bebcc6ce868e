"""Image features that are added between blocks: written = routed, on made-up embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.engine import context
from ggufsurgeon.engine.context import Batch
from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.routing.stage import Stage
from tests.calls import patch
from tests.conftest import ROOT
from tests.models.expanding import expand
from tests.models.variants import vary
from tests.verification.matrix import plain_results

pytestmark = pytest.mark.slow

pytest.importorskip("llama_cpp", reason="needs the llama extra")

QWEN, GRANITE = "qwen3vl-dense@set=n_deepstack_layers:3", "granite-dense@array=deepstack_mapping"
MODELS = [
    QWEN,
    QWEN.replace("vl-dense", "vlmoe-moe"),
    f"{GRANITE}:-1,-1,1,-1,2,-1,-1,-1",
    f"{GRANITE}:0,-1,1,-1,2,-1,-1,-1",
    f"{GRANITE}:-1,-1,1,-1,2,-1,-1,-1".replace("granite-", "granite_swa-"),
]
N_TOKENS = 20


TOKENS = np.arange(N_TOKENS, dtype=np.int32)


@pytest.fixture
def of_images(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp is given embeddings, as of an image, instead of tokens."""
    with loaded_model(model, Devices()) as loaded:
        width = llama_cpp().llama_model_n_embd_inp(loaded.handle)
        architecture = loaded.architecture
    monkeypatch.setattr(context, "native_batch", partial(image_batch, width))
    if architecture.startswith("qwen3vl"):
        name = Stage.node_name
        monkeypatch.setattr(
            Stage,
            "node_name",
            lambda self, block, batch: (
                f"deepstack_out-{block}" if 0 <= block < 3 else name(self, block, batch)
            ),
        )


def image_batch(width: int, batch: Batch) -> tuple[Any, object]:
    """As wide as llama.cpp asks for: an embedding and the features, one beside the other."""
    n = len(batch.tokens)
    features = np.random.default_rng(0).normal(0, 1, n * width).astype(np.float32)
    native = llama_cpp().llama_batch_init(4 * n, width, 1)  # M-RoPE takes 4 positions a token
    native.n_tokens = n
    np.ctypeslib.as_array(native.embd, (n * width,))[:] = features
    for position in range(4 * n):
        native.pos[position] = position % n
    for token in range(n):
        native.logits[token] = bool(batch.wanted[token])
        native.n_seq_id[token], native.seq_id[token][0] = 1, 0
    return native, native


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stem, _, variant = request.param.partition("@")
    folder: Path = tmp_path_factory.mktemp(stem)
    header = vary(ROOT / f"fixtures/arch_headers/{stem}.gguf", variant, folder / "header.gguf")
    return expand(header, folder / "model.gguf", 0)


def paths() -> Iterator[LayerPath]:
    """Block 0 runs once: what feeds it is a part of a wider tensor, and cannot be overwritten."""
    for first, end in ((3, 5), (4, 8), (1, 3), (2, 4), (5, 6)):
        yield LayerPath.of([*range(end), *range(first, 8)])
        yield LayerPath.of([*range(first), *range(end, 8)])
    yield LayerPath.of([0, 1, 2, 4, 7, 3, 6, 5])
    yield LayerPath.of([0, 4, 2, 2, 7])


@pytest.mark.usefixtures("of_images")
def test_written_is_routed_for_image_features_too(model: Path, tmp_path: Path) -> None:
    n_exact, patched = 0, tmp_path / "patched.gguf"
    with loaded_model(model, Devices()) as source, opened_router([source], 32) as router:
        for path in paths():
            try:
                patch(model, patched, path, replace=True)
            except RefusedError:
                continue
            routed = next(router.logits(TOKENS, [path]))
            assert np.array_equal(plain_results(patched, TOKENS), routed), str(path)
            n_exact += 1
    assert n_exact >= 6


def test_a_repeated_block_0_is_not_given_the_embedding_again(tmp_path: Path) -> None:
    """With text alone, features are zero but for stream 0, which is the embedding itself."""
    found = []
    for name, streams in (("none", "-1,-1"), ("some", "0,1")):
        header = ROOT / "fixtures/arch_headers/granite-dense.gguf"
        vary(header, f"array=deepstack_mapping:{streams},-1,-1,-1,-1,-1,-1", tmp_path / "header")
        model = expand(tmp_path / "header", tmp_path / f"{name}.gguf", 0)
        patch(model, tmp_path / "patched", LayerPath.of([0, 1, *range(8)]), replace=True)
        found.append(plain_results(tmp_path / "patched", TOKENS))
    without, given = found
    assert np.array_equal(without, given)
