"""A companion of the original, run along the path, equals the re-indexed one on the written file.

To the bit, with llama.cpp's own adapters and control vectors, on one thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.companions.adapted import Apply, plain, routed, with_lora, with_vectors
from tests.models.companions import control_vectors, lora
from tests.models.expanding import expand_named

REPEATED, DROPPED, SHUFFLED, TWICE = "0..4,2..7", "0..2,5..7", "0,3,1,2,4..7", "0..5,0..7"
LATE = "2..7,4..7"
PATHS = {
    "llama-dense": (REPEATED, DROPPED, SHUFFLED, TWICE, LATE),
    "qwen3moe-moe": (REPEATED, DROPPED),
    "gemma2-dense": (TWICE,),
    "mamba2-dense": (REPEATED, DROPPED),
    "deepseek2-moe": (REPEATED,),
    "granite-dense": (TWICE, LATE),
    "glm4moe-moe@trunk=2": ("0..3,2..5",),
}
CASES = [(name, path) for name, paths in PATHS.items() for path in paths]
N_TOKENS = 12


def check(model: Path, path: str, companion: Path, apply: Callable[[Path], Apply]) -> None:
    """Written = routed, and unlike with the companion of the original, or with none."""
    patched, moved = model.parent / "patched.gguf", model.parent / "moved.gguf"
    drawn = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 32, N_TOKENS)
    tokens = drawn.astype(np.int32)
    patch(model, patched, LayerPath(path))
    gs.open(model).plan_companion(companion, LayerPath(path)).write(moved)
    expected = routed(model, LayerPath(path), tokens, apply(companion))
    found = plain(patched, tokens, apply(moved))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, plain(patched, tokens, None))
    if apply is with_vectors or path != DROPPED:
        # llama.cpp takes the original's, and computes something else; it refuses an adapter for
        # more blocks than there are.
        assert not np.array_equal(found, plain(patched, tokens, apply(companion)))


@pytest.mark.parametrize(("name", "path"), CASES)
def test_adapters(name: str, path: str, tmp_path: Path) -> None:
    model = expand_named(name, tmp_path / "model.gguf")
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(lora(model))
    check(model, path, adapter, with_lora)


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, path in CASES if path.startswith("0")]
)
def test_control_vectors(name: str, path: str, tmp_path: Path) -> None:
    model = expand_named(name, tmp_path / "model.gguf")
    n_blocks = gs.open(model).n_blocks
    vectors = tmp_path / "vectors.gguf"
    vectors.write_bytes(control_vectors(model, range(1, n_blocks)))
    check(model, path, vectors, with_vectors)
