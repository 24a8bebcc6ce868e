"""A draft reads, on the patched model, the states that it reads on the original along the path."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError, OtherBaseError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.models.builders import STRING, pair, with_text
from tests.models.drafts import dflash, eagle3, gemma4_assistant
from tests.models.expanding import expand_named

N_TOKENS = 12


def follow(model: Path, draft: Path, path: str, **options: Any) -> Path:
    moved = draft.with_name("moved.gguf")
    return gs.open(model).plan_companion(draft, LayerPath(path), **options).write(moved)


def layers_after(model: Path, draft: Path, path: str) -> object:
    moved = gs.open(follow(model, draft, path))
    return moved.metadata[f"{moved.architecture}.target_layers"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return expand_named("qwen3-dense", tmp_path / "model.gguf")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("0..4,2..7", (0, 2, 4), [0, 2, 7]),  # the input; a block before the window; the last run
        ("0..4,2..7", (3, 5, 7), [6, 8, 10]),
        ("0..2,5..7", (1, 3, 6), [1, 3, 4]),
        ("0,3,1,2,4..7", (2, 3, 4), [3, 4, 2]),
        ("3,1..7", (0, 4, 5), [0, 4, 5]),
        ("0..7,7", (0, 3, 8), [0, 3, 9]),  # behind the last block there is another node
    ],
)
def test_where_the_layers_are(
    path: str, before: tuple[int, ...], after: list[int], model: Path, tmp_path: Path
) -> None:
    for make in (eagle3, dflash):
        draft = written(tmp_path / f"{make.__name__}.gguf", make(model, before))
        assert layers_after(model, draft, path) == after
        (tmp_path / "moved.gguf").unlink()


def states_along(model: Path, path: LayerPath, tokens: Any) -> list[Any]:
    """What enters each position of a path, and what leaves the last.

    Routed by hand: runs of blocks of the unmodified model, one after the other.
    """
    from ggufsurgeon.engine.context import Batch
    from ggufsurgeon.engine.graph.taps import WHOLE, Rows
    from ggufsurgeon.engine.model import Devices, loaded_model
    from ggufsurgeon.routing.passes import INPUT
    from ggufsurgeon.routing.stage import opened_stage

    with loaded_model(model, Devices(n_threads=1)) as loaded:

        def run(enters: Any, blocks: Any) -> list[Any]:
            with opened_stage(loaded, N_TOKENS, N_TOKENS) as stage:
                _, states = stage.decode(Batch.of(tokens), enters, blocks, needs_results=False)
            return [states[block].reshape(N_TOKENS, -1) for block in blocks]

        found = run({}, [INPUT])
        for first, last in path.runs():
            shape = (N_TOKENS, 1, 1, -1)
            enters = {first.block: [Rows(WHOLE, found[-1].reshape(shape))]}
            found += run(enters, range(first.block, last.block + 1))
    return found


def target_states(target: Path, draft: Path, tokens: Any) -> list[Any]:
    """The states of `target` that llama.cpp hands to `draft`, as its own programs ask for them."""
    import llama_cpp

    from ggufsurgeon.engine.context import Batch, opened_context
    from ggufsurgeon.engine.model import Devices, loaded_model

    lib = llama_cpp.llama_cpp._lib
    names = {  # src/llama-ext.h declares them for C++
        "ids": "_Z28llama_model_target_layer_idsPK11llama_model",
        "n_ids": "_Z30llama_model_target_layer_ids_nPK11llama_model",
        "enable": "_Z30llama_set_embeddings_layer_inpP13llama_contextjb",
        "read": "_Z30llama_get_embeddings_layer_inpP13llama_contextj",
    }
    ids, n_ids, enable, read = (getattr(lib, name) for name in names.values())
    ids.restype, ids.argtypes = ctypes.POINTER(ctypes.c_int32), [ctypes.c_void_p]
    n_ids.restype, n_ids.argtypes = ctypes.c_uint32, [ctypes.c_void_p]
    enable.restype, enable.argtypes = None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_bool]
    read.restype = ctypes.POINTER(ctypes.c_float)
    read.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    one_thread = Devices(n_threads=1)
    with loaded_model(draft, one_thread) as of_draft:
        numbers = ids(of_draft.handle)[: n_ids(of_draft.handle)]
    with (
        loaded_model(target, one_thread) as loaded,
        opened_context(loaded, N_TOKENS, N_TOKENS) as context,
    ):
        width = llama_cpp.llama_model_n_embd(loaded.handle)
        for number in numbers:
            enable(context.handle, number, True)
        context.decode(Batch.of(tokens))
        return [
            np.array(np.ctypeslib.as_array(read(context.handle, number), (N_TOKENS, width)))
            for number in numbers
        ]


@pytest.mark.parametrize("path", ["0..4,2..7", "0..3,5..7", "0..1,4,2..7", "3,0..7"])
@pytest.mark.parametrize("make", [eagle3, dflash])
def test_the_states_are_those_of_the_original_along_the_path(
    make: Any, path: str, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    layers = (2, 4, 6)
    draft = written(tmp_path / "draft.gguf", make(model, layers))
    patch(model, tmp_path / "patched.gguf", LayerPath(path))
    moved = follow(model, draft, path)
    tokens = np.random.default_rng(7).integers(0, 100, N_TOKENS).astype(np.int32)
    along = states_along(model, LayerPath(path), tokens)
    blocks = LayerPath(path).blocks
    last = [max(n for n, block in enumerate(blocks) if block == layer - 1) for layer in layers]
    found = target_states(tmp_path / "patched.gguf", moved, tokens)
    for state, position in zip(found, last, strict=True):
        np.testing.assert_array_equal(state, along[position + 1])
    as_it_was = target_states(tmp_path / "patched.gguf", draft, tokens)
    assert any(not np.array_equal(a, b) for a, b in zip(as_it_was, found, strict=True))


def test_all_else_stays_and_the_record_names_the_model(model: Path, tmp_path: Path) -> None:
    draft = written(tmp_path / "draft.gguf", eagle3(model, (2, 4, 6)))
    patched = tmp_path / "patched.gguf"
    patch(model, patched, LayerPath("0..4,2..7"))
    plan = gs.open(model).plan_companion(draft, patched=patched)
    assert any("fewer of its tokens" in note for note in plan.notes)
    moved = gs.open(plan.write(tmp_path / "moved.gguf"))
    before = gs.open(draft)
    changed = {key for key, value in before.metadata.items() if moved.metadata[key] != value}
    assert changed == {"eagle3.target_layers"}
    assert moved.metadata["layer_path.patched_header_sha256"] == open_gguf(patched).header_sha256
    assert moved.file.header.tensors == before.file.header.tensors
    assert moved.hashes().tensors == before.hashes().tensors
    again = gs.open(model).plan_companion(draft, LayerPath("0..7")).write(tmp_path / "same.gguf")
    assert again.read_bytes() == draft.read_bytes()


@pytest.mark.parametrize(
    ("path", "layers", "why"),
    [
        ("0..2,5..7", (1, 4, 6), "the output of block 3, which the layer path leaves out"),
        ("0..5", (1, 4, 6), "followed by others in the original and the last one on the layer"),
        ("0..7,3", (1, 2, 8), "the last one in the original and followed by others on the layer"),
    ],
)
def test_states_that_are_not_there(
    path: str, layers: tuple[int, ...], why: str, model: Path, tmp_path: Path
) -> None:
    draft = written(tmp_path / "draft.gguf", eagle3(model, layers))
    with pytest.raises(RefusedError, match=why):
        follow(model, draft, path)


def test_drafts_of_other_models(model: Path, tmp_path: Path) -> None:
    def refused(data: bytes, path: str = "0..4,2..7") -> str:
        with pytest.raises(RefusedError) as caught:
            follow(model, written(tmp_path / "draft.gguf", data), path)
        return str(caught.value)

    assert "the input of block 9, and" in refused(eagle3(model, (1, 4, 9)))
    wide = refused(eagle3(model, (1, 4, 6), width=512))
    assert "reads states of 512 numbers, and the residual stream" in wide and "has 256" in wide
    assert "is a draft for models of 'gemma4'" in refused(gemma4_assistant(model))
    other = eagle3(model, (1, 4, 6)).replace(b"tok_77", b"tok_xx")
    assert "token 77 is 'tok_xx' in" in refused(other)


def test_another_base_model_by_name(model: Path, tmp_path: Path) -> None:
    named = with_text(model.read_bytes(), "general.basename", "Qwen3 8B")
    model.write_bytes(named)
    name = pair("general.base_model.0.name", STRING, "Llama 3.1")
    draft = written(tmp_path / "draft.gguf", eagle3(model, (1, 4, 6), name))
    with pytest.raises(OtherBaseError):
        follow(model, draft, "0..4,2..7")
    assert follow(model, draft, "0..4,2..7", other_base=True).exists()


@pytest.mark.parametrize("layers", [(1, 2), (1, 2, 3, 4), (1, -1, 2)])
def test_layers_that_llama_cpp_does_not_take(
    layers: tuple[int, ...], model: Path, tmp_path: Path
) -> None:
    draft = written(tmp_path / "draft.gguf", eagle3(model, layers))
    with pytest.raises(MalformedFileError, match=r"eagle3\.target_layers is not an array of 3"):
        follow(model, draft, "0..4,2..7")


def test_an_assistant_fits_where_the_last_two_blocks_stay(tmp_path: Path) -> None:
    model = expand_named("gemma4-dense", tmp_path / "model.gguf")
    draft = written(tmp_path / "draft.gguf", gemma4_assistant(model))
    moved = gs.open(follow(model, draft, "0..5,3..7"))
    assert moved.hashes().tensors == gs.open(draft).hashes().tensors
    assert moved.metadata["layer_path.blocks"] == "0..5,3..7"
    for path in ("0..7,6", "0..6", "0..7,7"):
        with pytest.raises(RefusedError, match="KV caches of the last two blocks of its target, 6"):
            gs.open(model).plan_companion(draft, LayerPath(path))
