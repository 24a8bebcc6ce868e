"""MTP blocks left out, or taken from another file: the trunk computes the same, to the bit, and the
MTP blocks what they compute in the file that they are from."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import llama_cpp

import ggufsurgeon as gs
from ggufsurgeon.layer_path.path import LayerPath
from tests.models.expanding import expand_named

N_TOKENS, N_CTX = 12, 64
HEADS = (
    *("qwen35-dense", "qwen35moe-moe", "qwen3next-moe", "deepseek2-moe", "deepseek32-moe"),
    *("glm-dsa-moe", "step35-moe", "hy_v3-moe", "cohere2moe-moe"),
)
"""Architectures whose MTP blocks llama.cpp runs, with the tensors that the headers have."""
TRUNKS = ("glm4moe-moe", "glm4-dense", "deepseek4-moe", "mimo2-moe", "exaone4-dense")
"""Those of whose MTP blocks it does not: there is no graph for them, or it asks for other tensors
than the headers have."""


@contextmanager
def loaded(path: Path, *, mtp: bool) -> Iterator[tuple[Any, Any]]:
    """A model and a context of one thread."""
    of_model, of_context = (
        llama_cpp.llama_model_default_params(),
        llama_cpp.llama_context_default_params(),
    )
    of_model.load_mtp = mtp
    of_context.n_ctx, of_context.n_threads, of_context.n_threads_batch = N_CTX, 1, 1
    model = llama_cpp.llama_model_load_from_file(bytes(path), of_model)
    assert model, f"llama.cpp does not load {path}"
    context = llama_cpp.llama_init_from_model(model, of_context)
    yield model, context
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


def run(context: Any, tokens: Any, states: Any = None) -> Any:
    """Logits of tokens, and with them the states that an MTP block reads."""
    width = 0 if states is None else states.shape[1]
    batch = llama_cpp.llama_batch_init(len(tokens), width, 1)
    batch.n_tokens = len(tokens)
    if states is not None:
        ctypes.memmove(batch.embd, states.ctypes.data, states.nbytes)
        batch.token = (ctypes.c_int32 * len(tokens))()
    for n in range(len(tokens)):
        batch.token[n] = tokens[n]
        batch.pos[n], batch.n_seq_id[n], batch.seq_id[n][0], batch.logits[n] = n, 1, 0, 1
    assert llama_cpp.llama_decode(context, batch) == 0
    if states is not None:
        batch.token = None
    llama_cpp.llama_batch_free(batch)
    model = llama_cpp.llama_get_model(context)
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    shape = (len(tokens), n_vocab)
    return np.array(np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), shape))


def of_trunk(path: Path, tokens: Any) -> Any:
    with loaded(path, mtp=False) as (_, context):
        return run(context, tokens)


def of_head(path: Path, tokens: Any, states: Any) -> Any:
    """Logits of the first MTP block, which reads tokens and states of the trunk."""
    with loaded(path, mtp=True) as (model, trunk):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = N_CTX, 1, 1
        params.ctx_type, params.ctx_other = llama_cpp.LLAMA_CONTEXT_TYPE_MTP, trunk
        context = llama_cpp.llama_init_from_model(model, params)
        assert context, "llama.cpp runs no MTP blocks of this architecture"
        found = run(context, tokens, states)
        llama_cpp.llama_free(context)
        return found


@pytest.fixture
def tokens() -> Any:
    return np.random.default_rng(5).integers(0, 100, N_TOKENS).astype(np.int32)


def written(source: Path, path: str, name: str, **options: Any) -> Path:
    plan = gs.open(source).plan(LayerPath(path), **options)
    return plan.write(source.with_name(f"{name}.gguf"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*HEADS, *TRUNKS])
def test_trunk_and_head(name: str, tokens: Any, tmp_path: Path) -> None:
    source = expand_named(f"{name}@mtp=1", tmp_path / "source.gguf")
    last = gs.open(source).n_blocks - 1
    path = f"0..{last - 1},2..{last}" if last < 7 else f"0..3,2..{last}"
    kept = written(source, path, "kept")
    expected = of_trunk(kept, tokens)
    assert np.isfinite(expected).all()
    without = written(source, path, "without", without_mtp=True)
    assert gs.open(without).inspect().blocks.n_mtp == 0  # type: ignore[union-attr]
    np.testing.assert_array_equal(of_trunk(without, tokens), expected)
    bare = written(source, f"0..{last}", "bare", without_mtp=True)
    given = written(bare, path, "given", mtp_from=source)
    np.testing.assert_array_equal(of_trunk(given, tokens), expected)
    if name in HEADS:
        width = gs.open(source).metadata[f"{gs.open(source).architecture}.embedding_length"]
        states = np.random.default_rng(6).normal(0, 1, (N_TOKENS, width)).astype(np.float32)  # type: ignore[arg-type]
        found = of_head(given, tokens, states)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, of_head(source, tokens, states))


def test_verify_proves_files_with_other_mtp_blocks(tmp_path: Path) -> None:
    source = expand_named("step35_mtp-moe", tmp_path / "source.gguf")
    one_thread = gs.Devices(n_threads=1)
    for path in ("0..7", "0..3,2..7"):
        without = written(source, path, f"without{len(path)}", without_mtp=True)
        outcome = gs.verify(without, source, devices=one_thread)
        assert outcome.ok and not outcome.unproven, outcome.checks
        bare = tmp_path / "without4.gguf"
        given = written(bare, path, f"given{len(path)}", mtp_from=source)
        outcome = gs.verify(given, bare, mtp_from=source, devices=one_thread)
        assert outcome.ok and not outcome.unproven, outcome.checks


def test_verify_finds_other_bytes_in_an_mtp_block(tmp_path: Path) -> None:
    source = expand_named("step35_mtp-moe", tmp_path / "source.gguf")
    bare = written(source, "0..7", "bare", without_mtp=True)
    given = written(bare, "0..3,2..7", "given", mtp_from=source)
    file = gs.open(given).file
    index = [t.name for t in file.header.tensors].index("blk.10.nextn.hnorm.weight")
    with given.open("r+b") as handle:
        handle.seek(file.offset_in_file(index))
        handle.write(b"\x55")
    outcome = gs.verify(given, bare, mtp_from=source)
    (wrong,) = (check for check in outcome.checks if check.ok is False)
    assert wrong.name == "tensors" and "blk.10.nextn.hnorm.weight" in wrong.detail
