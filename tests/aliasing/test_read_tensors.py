"""What a plan makes anew is read from the source, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.models.expanding import expand_named

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from tests.aliasing.jobs import logits_of
from tests.aliasing.opening import alias_along, memory_of


@pytest.mark.parametrize(
    ("name", "path", "read"),
    [
        ("llama-dense", "0..3,2..7", set()),
        (
            "gemma4_per_layer-dense",
            "0..3,2..7",
            {"per_layer_model_proj.weight", "per_layer_token_embd.weight"},
        ),
        (
            "gemma3-dense@heads=1&blocks=62",
            "0..61,58..61",
            {f"blk.{n}.attn_q_norm.weight" for n in range(66)},
        ),
    ],
)
def test_only_made_tensors_are_read(name: str, path: str, read: set[str], tmp_path: Path) -> None:
    file, written = expand_named(name, tmp_path / "model.gguf"), tmp_path / "written.gguf"
    patch(file, written, LayerPath(path), scale_weights=True)
    with loaded_model(written, Devices()) as model:
        expected = logits_of(model)
    with (
        loaded_model(file, Devices()) as source,
        alias_along(source, path, scale_weights=True) as model,
    ):
        there = set().union(*memory_of(source).values())
        assert {name for name, at in memory_of(model).items() if not at <= there} == read
        assert np.array_equal(logits_of(model), expected)
