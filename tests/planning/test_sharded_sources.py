"""A model in shards gives the same files, bit for bit, as the file that they were cut from.

But for the record of the shards, which recipes of that file leave out.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.aliasing.shared_tensors import planned_tensors
from ggufsurgeon.errors import RefusedError, WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import Origin, plan_patch
from ggufsurgeon.planning.provenance import this_tool
from ggufsurgeon.writing.new_file import write_new_file
from tests.calls import patch
from tests.models.expanding import expand_named
from tests.models.sharding import cut, cut_evenly, with_alignment

MODELS = [
    ("llama-moe", "0..3,2..7", 32),
    ("llama-moe", "0..3,2..7", 64),
    ("qwen3moe-moe", "0..1,4..7", 8),
    ("gemma-dense", "0..5,4..7", 64),  # the embedding is the output matrix
    ("gemma4_per_layer-dense", "0..5,4..7", 32),  # rows of slices for each block
    ("gemma4_per_layer-dense", "7,0..3", 64),
    ("gemma3-dense@heads=1&blocks=62", "0..61,58..61", 32),  # scaled weights
    ("qwen35-dense", "0..7,4..7", 64),
]
RECORD = {
    "layer_path.source_shards",
    "layer_path.source_shards_pairs",
    "layer_path.source_shards_keys_at",
    "layer_path.source_shards_sha256",
}


@pytest.mark.parametrize(("name", "path", "alignment"), MODELS)
def test_a_patch_of_shards_is_that_of_the_file(
    name: str, path: str, alignment: int, tmp_path: Path
) -> None:
    whole = expand_named(name, tmp_path / "whole.gguf")
    with_alignment(whole, whole, alignment)
    rng = random.Random(f"{name}{path}{alignment}")
    n_tensors = len(gs.open(whole).file.header.tensors)
    shards = cut(whole, tmp_path / "model", sorted(rng.choices(range(n_tensors + 1), k=3)))
    of_whole = patch(whole, tmp_path / "a.gguf", LayerPath(path), scale_weights=True)
    given = gs.open(rng.choice(shards)).file
    origin = Origin(this_tool(), None)
    of_shards = plan_patch(given, LayerPath(path), scale_weights=True, origin=origin)
    write_new_file(of_shards.write_plan, tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert of_shards.changes == of_whole.changes
    recorded = plan_patch(given, LayerPath(path), scale_weights=True)
    keys = {change.after.key for change in recorded.changes}
    assert keys - {change.after.key for change in of_shards.changes} == RECORD
    # Aliased models share the same tensors.
    shared, shared_of_whole = (
        [(tensor.name, tensor.shared_with) for tensor in planned_tensors(p.write_plan, [p.source])]
        for p in (of_shards, of_whole)
    )
    assert shared == shared_of_whole


@pytest.mark.parametrize("alignment", [32, 64, 8])
def test_the_identity_path_joins_shards(stories: Path, tmp_path: Path, alignment: int) -> None:
    whole = with_alignment(stories, tmp_path / "whole.gguf", alignment)
    shards = cut_evenly(whole, tmp_path / "model", 5)
    patch(shards[3], tmp_path / "joined.gguf", LayerPath.identity(5))
    assert (tmp_path / "joined.gguf").read_bytes() == whole.read_bytes()


def test_a_shard_that_has_changed_is_noticed(stories: Path, tmp_path: Path) -> None:
    shards = cut_evenly(stories, tmp_path / "model")
    plan = gs.open(shards[0]).plan(gs.repeat("1:3"))
    with shards[1].open("ab") as file:
        file.write(b"more")
    with pytest.raises(WriteFailedError, match=r"model-00002-of-00003\.gguf has changed"):
        plan.write(tmp_path / "new.gguf")
    assert not (tmp_path / "new.gguf").exists()


def test_no_shard_is_overwritten(stories: Path, tmp_path: Path) -> None:
    shards = cut_evenly(stories, tmp_path / "model")
    before = shards[2].read_bytes()
    with pytest.raises(RefusedError, match=r"is the source .*model-00003-of-00003\.gguf itself"):
        gs.open(shards[0]).plan(gs.repeat("1:3")).write(shards[2], replace=True)
    assert shards[2].read_bytes() == before
