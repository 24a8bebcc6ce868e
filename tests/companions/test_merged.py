"""A re-indexed adapter is worth the weights that it was merged into, on files and without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import loaded_model
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.companions.adapted import ONE_THREAD, plain, with_lora
from tests.models.companions import RANK, lora, values, weights_of

ALPHA = 16.0
PATH = LayerPath("0..3,1..4")
N_TOKENS = 12


def merge(model: Path, destination: Path) -> Path:
    """The model with the adapter of `lora` added to its weights, in float64."""
    data, file = bytearray(model.read_bytes()), gs.open(model).file
    index_of = {tensor.name: n for n, tensor in enumerate(file.header.tensors)}
    for name, (n_in, n_out) in weights_of(model):
        down, up = (
            np.frombuffer(values(f"{name}.lora_{part}", *dims).data, np.float32).astype(np.float64)
            for part, dims in (("a", (n_in, RANK)), ("b", (RANK, n_out)))
        )
        start = file.offset_in_file(index_of[name])
        weight = np.frombuffer(data, np.float32, n_in * n_out, start).astype(np.float64)
        delta = up.reshape(n_out, RANK) @ down.reshape(RANK, n_in) * (ALPHA / RANK)
        merged = weight.reshape(n_out, n_in) + delta
        data[start : start + 4 * n_in * n_out] = merged.astype(np.float32).tobytes()
    destination.write_bytes(data)
    return destination


def test_an_adapter_that_follows_is_worth_merged_weights(stories: Path, tmp_path: Path) -> None:
    model = stories  # its weights are F32, and have no scales, which would multiply merged ones
    adapter, moved, patched, merged = (tmp_path / f"{n}.gguf" for n in ("l", "m", "p", "w"))
    adapter.write_bytes(lora(model))
    patch(model, patched, PATH)
    gs.open(model).plan_companion(adapter, patched=patched).write(moved)
    patch(merge(model, tmp_path / "merged.gguf"), merged, PATH)
    tokens = np.random.default_rng(3).integers(0, 100, N_TOKENS).astype(np.int32)
    expected = plain(merged, tokens, None)
    found = plain(patched, tokens, with_lora(moved))
    spread = np.abs(expected).max()
    # The caches are of F16, so that sums in another order differ by its rounding.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * spread)
    for other in (None, with_lora(adapter)):  # none, and the original's on other blocks
        difference = np.abs(plain(patched, tokens, other) - expected).max()
        assert difference > 0.1 * spread
    with (
        loaded_model(model, ONE_THREAD) as source,
        alias(source, PATH) as aliased,
        opened_context(aliased, N_TOKENS, N_TOKENS) as context,
    ):
        with_lora(moved)(aliased, context)
        np.testing.assert_array_equal(np.array(context.decode(Batch.of(tokens))), found)
