"""A companion of one of several models, in the written file and on the models run along the path.

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
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from tests.companions.adapted import Apply, plain, routed_over, with_lora, with_vectors
from tests.models.companions import RANK, control_vectors, lora, lora_tensors, values
from tests.models.second import expand_two

INTERLEAVED, SECOND_FIRST = "0..3,1:2..5,3..4,1:4..7", "1:0..3,2..5,1:3,3..7"
CASES = [
    ("llama-dense", INTERLEAVED, 0),
    ("llama-dense", INTERLEAVED, 1),
    ("llama-dense", SECOND_FIRST, 1),
    ("qwen3moe-moe", INTERLEAVED, 1),
    ("mamba2-dense", SECOND_FIRST, 0),
    ("deepseek2-moe", "0..3,1:2..5", 1),
    ("glm4moe-moe@trunk=2", "0..2,1:1..4", 1),
]
N_TOKENS = 12


def check(
    folder: Path,
    models: tuple[Path, Path],
    path: str,
    number: int,
    companion: Path,
    apply: Callable[[Path], Apply],
    outside: OutsideBlocks | None = None,
) -> None:
    """Written = routed, and unlike with the companion of the original, or with none."""
    layers = LayerPath(path)
    plan = gs.open(models[0]).plan(layers, others=models[1:], outside=outside)
    patched, moved = plan.write(folder / "patched.gguf"), folder / "moved.gguf"
    drawn = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 32, N_TOKENS)
    tokens = drawn.astype(np.int32)
    source = gs.open(models[number])  # the headers of both are the same
    source.plan_companion(companion, patched=patched, number=number).write(moved)
    applied = [apply(companion) if n == number else None for n in range(2)]
    expected = routed_over(list(zip(models, applied, strict=True)), layers, tokens, outside)
    found = plain(patched, tokens, apply(moved))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, plain(patched, tokens, None))
    assert not np.array_equal(found, plain(patched, tokens, apply(companion)))


@pytest.mark.parametrize(("name", "path", "number"), CASES)
def test_adapters(name: str, path: str, number: int, tmp_path: Path) -> None:
    models = expand_two(name, tmp_path)
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(lora(models[number]))
    check(tmp_path, models, path, number, adapter, with_lora)


@pytest.mark.parametrize(("name", "path", "number"), CASES)
def test_control_vectors(name: str, path: str, number: int, tmp_path: Path) -> None:
    models = expand_two(name, tmp_path)
    vectors = tmp_path / "vectors.gguf"
    n_blocks = gs.open(models[0]).n_blocks
    vectors.write_bytes(control_vectors(models[number], range(1, n_blocks)))
    check(tmp_path, models, path, number, vectors, with_vectors)


@pytest.mark.parametrize("number", [0, 1])
def test_adapters_of_the_output_head(number: int, tmp_path: Path) -> None:
    """The output head is model 1's: it takes what the adapter of model 1 gives, and no other's."""
    models = expand_two("llama-dense", tmp_path)
    dims = next(t.dims for t in gs.open(models[0]).file.header.tensors if t.name == "output.weight")
    head = [
        values("output.weight.lora_a", dims[0], RANK),
        values("output.weight.lora_b", RANK, dims[1]),
    ]
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(lora(models[number], tensors=[*lora_tensors(models[number]), *head]))
    layers, outside = "0..3,1:2..5", OutsideBlocks(0, 1, 0)
    if number:
        check(tmp_path, models, layers, number, adapter, with_lora, outside)
        return
    alone = tmp_path / "blocks.gguf"
    alone.write_bytes(lora(models[0]))
    plan = gs.open(models[0]).plan(LayerPath(layers), others=models[1:], outside=outside)
    patched = plan.write(tmp_path / "patched.gguf")
    both = [
        gs.open(models[0]).plan_companion(each, patched=patched, number=0)
        for each in (adapter, alone)
    ]
    assert any("output.weight" in note for note in both[0].notes)
    written = [plan.write(tmp_path / f"moved-{n}.gguf") for n, plan in enumerate(both)]
    tokens = np.arange(N_TOKENS, dtype=np.int32)
    found, expected = (plain(patched, tokens, with_lora(file)) for file in written)
    np.testing.assert_array_equal(found, expected)
