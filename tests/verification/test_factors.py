"""Which architectures can have factors of weights, held against llama.cpp itself; and verify."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.architectures.strengths import EXACT, EXACT_QUERIES_AND_KEYS
from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.structures.structure import check_metadata, check_tensors
from tests.calls import patch
from tests.models.expanding import expand_named
from tests.models.scales import with_scaled_weights
from tests.verification.matrix import N_TOKENS, plain_results
from tests.verification.running import run_matrix
from tests.verification.test_strengths import HEADERS, N_SHARES, STORIES

PATH = LayerPath("0..2,1..2*attn_q=0.84*attn_k=0.5,3..4*0.5*ffn_down=0.5")

MOVES = {
    "minimax-01": "architecture 'minimax-01': the decay of its linear attention is a function of "
    "each block's index (288)"
}
"""Architectures whose blocks stay where they are, with the refusal of a path that moves them."""


@pytest.mark.slow
@pytest.mark.parametrize("share", range(N_SHARES))
def test_the_tables_are_what_llama_cpp_does(share: int) -> None:
    """Scales do what multiplied weights do in the architectures of the tables, and paths are exact.

    Where other architectures multiply by all scales, a norm or a factor may follow.
    """
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    models = [path.stem for path in HEADERS][share::N_SHARES]
    lines = run_matrix(models, n_processes=1, program="tests.verification.factors")
    for line in lines:
        name, effects = line["architecture"], line.get("effects", {})
        if line["status"] != "examined":
            assert name not in EXACT | EXACT_QUERIES_AND_KEYS, line
            continue
        is_proven = effects["queries and keys"] == "as weights"
        assert is_proven == (name in EXACT_QUERIES_AND_KEYS), line
        assert name not in EXACT or effects["outputs"] in ("as weights", "absent"), line
        crosses = any(rule.crosses for rule in find_architecture(name).rules)
        allowed = (None, "exact aliased" if crosses else "exact", f"refused: {MOVES.get(name)}")
        assert line["compared"] in allowed, line


@pytest.mark.parametrize(
    ("name", "factors", "parts"),
    [
        ("qwen2-dense", {"attn_q": 0.5, "attn_k": 4.0}, {}),
        ("qwen3-dense", {"attn_q": 0.5, "attn_k": 4.0, "attn_output": 2.0, "ffn_down": 0.25}, {}),
        ("llama-moe", {"attn_k": 0.5, "ffn_down": 0.25}, {"ffn_down": ("ffn_down_exps",)}),
    ],
)
def test_a_written_file_computes_what_multiplied_weights_do(
    name: str, factors: dict[str, float], parts: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """Powers of two, with the biases of queries and keys, in two blocks: the same to the bit."""
    source = expand_named(name, tmp_path / "model.gguf")
    text = "".join(f"*{weight}={factor}" for weight, factor in factors.items())
    patch(source, tmp_path / "patched.gguf", LayerPath(f"0..1,2..3{text},4..7"))
    multiplied = source
    for weight, factor in factors.items():
        blocks = dict.fromkeys((2, 3), factor)
        there = parts.get(weight, (weight,))
        multiplied = with_scaled_weights(multiplied, tmp_path / f"{weight}.gguf", blocks, there)
    tokens = np.arange(1, N_TOKENS + 1, dtype=np.int32)
    found = plain_results(tmp_path / "patched.gguf", tokens)
    assert np.array_equal(found, plain_results(multiplied, tokens))
    assert not np.array_equal(found, plain_results(source, tokens))


def test_each_architecture_of_the_table_has_a_model_and_is_documented() -> None:
    there = {parse_header(path.read_bytes(), path.name)[0].architecture for path in HEADERS}
    assert there >= EXACT_QUERIES_AND_KEYS
    page = (STORIES.parent.parent / "docs/layer-paths.md").read_text("utf-8")
    listed = page.partition("## Factors of single weights")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in listed for name in EXACT_QUERIES_AND_KEYS)


def wrong(patched: Path, source: Path, path: LayerPath) -> str:
    files = open_gguf(patched), open_gguf(source)
    checks = (check_metadata(*files, path), check_tensors(*files, path))
    return "; ".join(check.detail for check in checks if not check.ok)


def test_what_patch_writes_holds_and_other_factors_are_found(tmp_path: Path) -> None:
    patch(STORIES, tmp_path / "patched.gguf", PATH)
    assert not wrong(tmp_path / "patched.gguf", STORIES, PATH)
    for text, says in (
        ("0..2,1..2*attn_q=0.84*attn_k=0.25,3..4*0.5*ffn_down=0.5", "blk.3.attn_k.scale"),
        ("0..2,1..2*attn_q=0.84*attn_k=0.5,3..4*0.5", "blk.5.ffn_down.scale"),
        ("0..2,1..2*attn_q=0.84,3..4*0.5*ffn_down=0.5", "missing or left over: blk.3.attn_k.scale"),
    ):
        assert says in wrong(tmp_path / "patched.gguf", STORIES, LayerPath(text))


def test_a_bias_of_another_value_is_found(tmp_path: Path) -> None:
    source = expand_named("qwen2-dense", tmp_path / "model.gguf")
    path = LayerPath("0..5,5..7*attn_q=0.3")
    patch(source, tmp_path / "patched.gguf", path)
    assert not wrong(tmp_path / "patched.gguf", source, path)
    file = open_gguf(tmp_path / "patched.gguf")
    names = [tensor.name for tensor in file.header.tensors]
    data = bytearray((tmp_path / "patched.gguf").read_bytes())
    at, original = (file.offset_in_file(names.index(f"blk.{n}.attn_q.bias")) for n in (6, 5))
    product, number = (struct.unpack_from("<f", data, offset)[0] for offset in (at, original))
    assert product == pytest.approx(0.3 * number)
    data[at] ^= 1  # the last bit
    (tmp_path / "patched.gguf").write_bytes(data)
    says = "differ from their source: blk.6.attn_q.bias"
    assert says in wrong(tmp_path / "patched.gguf", source, path)
