"""Which tensor of a companion goes where, what is copied, and what the new file records."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.models.companions import control_vectors, imatrix, lora, lora_tensors, values
from tests.models.expanding import expand_named


def contents(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Dimensions and data of each tensor, by name."""
    file, data = gs.open(path).file, path.read_bytes()
    found = {}
    for index, tensor in enumerate(file.header.tensors):
        at = file.offset_in_file(index)
        n_bytes = file.layout.tensor_n_bytes[index]
        found[tensor.name] = tensor.dims, data[at : at + n_bytes]
    return found


def follow(model: Path, companion: Path, path: AnyPath) -> Path:
    moved = companion.with_suffix(".moved.gguf")
    return gs.open(model).plan_companion(companion, path).write(moved, replace=True)


@pytest.mark.parametrize("make", [lora, imatrix])
def test_each_block_has_what_its_source_block_had(
    make: object, stories: Path, tmp_path: Path
) -> None:
    companion = tmp_path / "companion.gguf"
    companion.write_bytes(make(stories))  # type: ignore[operator]
    before = contents(companion)
    after = contents(follow(stories, companion, LayerPath("0..2,1,4")))
    expected = {}
    for position, block in enumerate((0, 1, 2, 1, 4)):
        for name, content in before.items():
            if name.startswith(f"blk.{block}."):
                expected[name.replace(f"blk.{block}.", f"blk.{position}.", 1)] = content
    assert expected and after == expected


def test_vectors_are_one_for_each_run_of_a_block(stories: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.gguf"
    vectors.write_bytes(control_vectors(stories, [1, 2, 4]))
    before = contents(vectors)
    moved = follow(stories, vectors, LayerPath("0,1,0,3,1,4"))
    of = {"direction.1": "direction.1", "direction.4": "direction.1", "direction.5": "direction.4"}
    assert contents(moved) == {new: before[old] for new, old in of.items()}
    assert gs.open(moved).metadata["controlvector.layer_count"] == 3


def test_mtp_blocks_stay_last(tmp_path: Path) -> None:
    model, adapter = expand_named("step35_mtp-moe", tmp_path / "m.gguf"), tmp_path / "l.gguf"
    adapter.write_bytes(lora(model))
    before, after = contents(adapter), contents(follow(model, adapter, LayerPath("0..1,1..7")))
    name = "attn_q.weight.lora_a"
    for position, block in enumerate((0, 1, *range(1, 9))):
        assert after[f"blk.{position}.{name}"] == before[f"blk.{block}.{name}"]
    assert f"blk.9.{name}" in after and f"blk.10.{name}" not in after


@pytest.mark.parametrize("make", [lora, imatrix, lambda model: control_vectors(model, [1, 3])])
def test_the_identity_path_gives_the_same_file(make: object, stories: Path, tmp_path: Path) -> None:
    companion = tmp_path / "companion.gguf"
    companion.write_bytes(make(stories))  # type: ignore[operator]
    assert follow(stories, companion, LayerPath("0..4")).read_bytes() == companion.read_bytes()


def test_what_the_new_file_records(stories: Path, tmp_path: Path) -> None:
    adapter, patched = tmp_path / "lora.gguf", tmp_path / "patched.gguf"
    adapter.write_bytes(lora(stories))
    path = LayerPath("0..2,1..4")
    patch(stories, patched, path)
    moved = follow(stories, adapter, path)
    metadata = gs.open(moved).metadata
    assert metadata["layer_path.blocks"] == "0..2,1..4"
    files = {"base": stories, "patched": patched, "companion": adapter}
    for key, file in files.items():
        raw = file.read_bytes()[: gs.open(file).file.header_n_bytes]
        assert metadata[f"layer_path.{key}_header_sha256"] == hashlib.sha256(raw).hexdigest()
    by_record = gs.open(stories).plan_companion(adapter, patched=patched)
    again = by_record.write(tmp_path / "again.gguf")
    assert again.read_bytes() == moved.read_bytes()
    kept = {key: value for key, value in metadata.items() if not key.startswith("layer_path.")}
    assert kept == gs.open(adapter).metadata


def test_companions_follow_a_second_patch(stories: Path, tmp_path: Path) -> None:
    """Through two paths as along the one that they make together."""
    adapter, once = tmp_path / "lora.gguf", tmp_path / "once.gguf"
    adapter.write_bytes(lora(stories))
    patch(stories, once, LayerPath("0..2,1..4"))
    first = follow(stories, adapter, LayerPath("0..2,1..4"))
    planned = gs.open(once).plan_companion(first, LayerPath("6,0..5"))
    assert not planned.notes
    second = planned.write(tmp_path / "second.gguf")
    assert contents(second) == contents(follow(stories, adapter, LayerPath("4,0..2,1..3")))
    with pytest.raises(RefusedError, match="re-indexed for another model"):
        gs.open(stories).plan_companion(second, gs.repeat("1:3"))


def test_an_unmarked_companion_of_a_patched_model_is_noted(stories: Path, tmp_path: Path) -> None:
    adapter, once = tmp_path / "lora.gguf", tmp_path / "once.gguf"
    adapter.write_bytes(lora(stories))
    patch(stories, once, LayerPath("0..2,1..4"))
    (note,) = gs.open(once).plan_companion(adapter, gs.repeat("1:3")).notes
    assert "does not say for which layer path" in note


def test_a_path_or_a_patched_model_is_asked_for(stories: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(lora(stories))
    with pytest.raises(UsageError, match="expected a layer path"):
        gs.open(stories).plan_companion(adapter)
    with pytest.raises(UsageError, match="expected a layer path"):
        gs.open(stories).plan_companion(adapter, gs.repeat("1:3"), patched=stories)


def test_random_data_tells_blocks_apart(stories: Path, tmp_path: Path) -> None:
    """What the tests above rest on."""
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(lora(stories))
    data = [raw for _, raw in contents(adapter).values()]
    assert len(set(data)) == len(data)
    assert all(np.isfinite(np.frombuffer(raw, np.float32)).all() for raw in data)


def test_what_was_made_for_unscaled_weights_is_refused(tmp_path: Path) -> None:
    model = expand_named("gemma3-dense@heads=1&blocks=62", tmp_path / "model.gguf")
    adapter, scaled = tmp_path / "lora.gguf", tmp_path / "scaled.gguf"
    adapter.write_bytes(lora(model))
    patch(model, scaled, LayerPath("0..11,6..61"), scale_weights=True)
    with pytest.raises(RefusedError, match="multiplied by a factor"):
        gs.open(model).plan_companion(adapter, patched=scaled)
    with pytest.raises(RefusedError, match="62"):
        gs.open(model).plan_companion(adapter, LayerPath("0..11,6..61"))


def test_weights_with_a_slice_for_each_block_are_refused(tmp_path: Path) -> None:
    model, adapter = expand_named("gemma3n-dense", tmp_path / "model.gguf"), tmp_path / "lora.gguf"
    name = "per_layer_model_proj.weight"
    n_in, n_out = next(t.dims for t in gs.open(model).file.header.tensors if t.name == name)
    factors = [values(f"{name}.lora_a", n_in, 2), values(f"{name}.lora_b", 2, n_out)]
    adapter.write_bytes(lora(model, tensors=factors))
    with pytest.raises(RefusedError, match="holds a slice for each block"):
        gs.open(model).plan_companion(adapter, LayerPath("0..20,20..23"))


def test_architectures_without_control_vectors_are_refused(tmp_path: Path) -> None:
    model, vectors = expand_named("plamo2-dense", tmp_path / "model.gguf"), tmp_path / "v.gguf"
    vectors.write_bytes(control_vectors(model, [1]))
    with pytest.raises(RefusedError, match="adds no control vectors to models of 'plamo2'"):
        gs.open(model).plan_companion(vectors, LayerPath(f"0..{gs.open(model).n_blocks - 1}"))


def test_names_of_transformers_are_no_architectures(stories: Path, tmp_path: Path) -> None:
    """repeng writes them: a mistral is a llama for llama.cpp."""
    vectors = tmp_path / "vectors.gguf"
    vectors.write_bytes(control_vectors(stories, [1], "mistral"))
    follow(stories, vectors, gs.repeat("1:3"))


def test_an_adapter_of_what_a_strength_multiplies_is_refused(stories: Path, tmp_path: Path) -> None:
    """Others follow, and so does what an imatrix says of a weight."""
    adapter, path = tmp_path / "lora.gguf", LayerPath("0..3,2..3*0.5,4")
    adapter.write_bytes(lora(stories))
    with pytest.raises(RefusedError, match=r"blk\.[23]\.(attn_output|ffn_down).* has a strength"):
        follow(stories, adapter, path)
    with pytest.raises(RefusedError, match=r"blk\.2\.attn_k.* has a strength or a factor"):
        follow(stories, adapter, LayerPath("0..3,2*attn_k=0.5,3..4"))
    kept = [
        t for t in lora_tensors(stories) if "attn_output" not in t.name and "down" not in t.name
    ]
    adapter.write_bytes(lora(stories, tensors=kept))
    assert len(contents(follow(stories, adapter, path))) > len(kept) > 0
    about = tmp_path / "imatrix.gguf"
    about.write_bytes(imatrix(stories))
    assert len(contents(follow(stories, about, path))) > len(contents(about))
