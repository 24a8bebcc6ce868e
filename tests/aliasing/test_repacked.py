"""Weights that the CPU backend repacks: the output matrix is repacked, the embedding is not."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.engine.model import Devices, loaded_model
from tests.aliasing.jobs import logits_of
from tests.aliasing.opening import memory_of, opened_alias

PATH = "0..16,10..29"


@pytest.fixture(scope="module")
def q4_0(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 in Q4_0 alone, also its matrix of embeddings, which is its output too."""
    lib, path = llama_cpp(), tmp_path_factory.mktemp("quantized") / "q4_0.gguf"
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.pure, params.allow_requantize = lib.LLAMA_FTYPE_MOSTLY_Q4_0, True, True
    done = lib.llama_model_quantize(str(smollm2).encode(), str(path).encode(), ctypes.byref(params))
    assert done == 0
    return path


def test_aliased_is_written(q4_0: Path, tmp_path: Path) -> None:
    patch(q4_0, tmp_path / "written.gguf", LayerPath(PATH))
    with loaded_model(tmp_path / "written.gguf", Devices()) as model:
        expected = logits_of(model)
    with opened_alias(q4_0, PATH) as (_, model):
        assert np.array_equal(logits_of(model), expected)


def test_both_uses_of_a_tied_matrix_have_the_memory_of_the_source(q4_0: Path) -> None:
    with opened_alias(q4_0, PATH) as (source, model):
        before, after = (memory_of(one)["token_embd.weight"] for one in (source, model))
        if len(before) == 1:
            pytest.skip("this CPU does not repack Q4_0")
        assert len(before) == 2
        assert after == before
