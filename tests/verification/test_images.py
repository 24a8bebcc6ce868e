"""Image features that are added between blocks: written = routed, on made-up embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon import api
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.library import llama_cpp
from tests.conftest import ROOT
from tests.verification.expanding import expand
from tests.verification.routed import Runner
from tests.verification.variants import vary

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


class ImageRunner(Runner):
    """Decodes embeddings, as of an image, instead of tokens."""

    def _output(self, block: int) -> str:
        is_followed = self.architecture.startswith("qwen3vl") and block < 3
        return f"deepstack_out-{block}" if is_followed else super()._output(block)

    def _batch(self, tokens: list[int]) -> Any:
        """As wide as llama.cpp asks for: an embedding and the features, one beside the other."""
        width = llama_cpp().llama_model_n_embd_inp(self.model)
        n = len(tokens)
        features = np.random.default_rng(tokens).normal(0, 1, n * width).astype(np.float32)
        batch = llama_cpp().llama_batch_init(4 * n, width, 1)  # M-RoPE takes 4 positions a token
        batch.n_tokens = n
        np.ctypeslib.as_array(batch.embd, (n * width,))[:] = features
        for position in range(4 * n):
            batch.pos[position] = position % n
        for token in range(n):
            batch.logits[token], batch.n_seq_id[token], batch.seq_id[token][0] = True, 1, 0
        return batch


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


def test_written_is_routed_for_image_features_too(model: Path, tmp_path: Path) -> None:
    tokens, n_exact, patched = list(range(N_TOKENS)), 0, tmp_path / "patched.gguf"
    with ImageRunner(model, N_TOKENS) as source:
        for path in paths():
            try:
                api.patch(model, patched, path, replace=True)
            except RefusedError:
                continue
            with ImageRunner(patched, N_TOKENS) as written:
                assert np.array_equal(written.logits(tokens), source.logits(tokens, path)), path
            n_exact += 1
    assert n_exact >= 6


def test_a_repeated_block_0_is_not_given_the_embedding_again(tmp_path: Path) -> None:
    """With text alone, features are zero but for stream 0, which is the embedding itself."""
    found = []
    for name, streams in (("none", "-1,-1"), ("some", "0,1")):
        header = ROOT / "fixtures/arch_headers/granite-dense.gguf"
        vary(header, f"array=deepstack_mapping:{streams},-1,-1,-1,-1,-1,-1", tmp_path / "header")
        model = expand(tmp_path / "header", tmp_path / f"{name}.gguf", 0)
        api.patch(model, tmp_path / "patched", LayerPath.of([0, 1, *range(8)]), replace=True)
        with Runner(tmp_path / "patched", N_TOKENS) as written:
            found.append(written.logits(list(range(N_TOKENS))))
    without, given = found
    assert np.array_equal(without, given)
