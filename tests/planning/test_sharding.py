"""Files in shards: no larger than asked, as few as that allows, and joined the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.joined_bytes import opened_bytes
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.sharding import MAX_SHARDS, in_shards
from tests.calls import patch, plan
from tests.models.builders import (
    I32,
    U16,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)
from tests.models.expanding import expand_named
from tests.models.sharding import cut, split_keys, with_alignment, with_pairs

PATH = LayerPath.of([0, 1, 1, 2])


@given(st.sampled_from([8, 32, 64, 128]), st.integers(500, 3000))
def test_shards_hold_the_file(
    tmp_path_factory: pytest.TempPathFactory, alignment: int, max_n_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    source = folder / "source.gguf"
    source.write_bytes(llama_model(3))
    with_alignment(source, source, alignment)
    planned = gs.open(source).plan(PATH)
    whole = planned.write(folder / "whole.gguf")
    try:
        paths = planned.write_shards(folder / "new.gguf", max_n_bytes)
    except RefusedError as error:
        assert "too small" in str(error)
        return
    assert all(path.stat().st_size <= max_n_bytes for path in paths)
    joined = open_gguf(paths[-1])
    assert joined.header == open_gguf(whole).header
    with opened_bytes(joined) as data:
        assert data.read(0, data.n_bytes) == whole.read_bytes()
    assert len(paths) == len(joined.files)
    for file, behind in zip(joined.shards, joined.shards[1:], strict=False):
        room = max_n_bytes - file.layout.n_bytes
        assert room < behind.layout.tensor_n_bytes[0] + 100 + 2 * alignment, "more would fit"


def test_big_endian_shards(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(gguf(llama_pairs(3, order=">"), block_tensors(3), order=">"))
    planned = gs.open(source).plan(PATH)
    paths = planned.write_shards(tmp_path / "new.gguf", 4400)
    assert len(paths) > 1
    assert open_gguf(paths[1]).header == open_gguf(planned.write(tmp_path / "whole.gguf")).header


def test_what_fits_is_one_file(stories: Path, tmp_path: Path) -> None:
    (path,) = gs.open(stories).plan(gs.repeat("1:3")).write_shards(tmp_path / "new.gguf", 2**21)
    patch(stories, tmp_path / "whole.gguf", gs.repeat("1:3"))
    assert path == tmp_path / "new.gguf"
    assert path.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_names_as_llama_gguf_split_gives_them(stories: Path, tmp_path: Path) -> None:
    planned = gs.open(stories).plan(gs.repeat("1:3"))
    for asked in ("a.b", "a.b.gguf", "a.b-00007-of-00009.gguf"):
        folder = tmp_path / asked
        folder.mkdir()
        names = [path.name for path in planned.write_shards(folder / asked, 10**6)]
        assert names == ["a.b-00001-of-00002.gguf", "a.b-00002-of-00002.gguf"]


def test_the_bytes_are_those_of_llama_gguf_split(stories: Path, tmp_path: Path) -> None:
    planned = gs.open(stories).plan(LayerPath.identity(5))
    ours = planned.write_shards(tmp_path / "ours.gguf", 10**6)
    n_first = len(open_gguf(ours[0]).shards[0].header.tensors)
    theirs = cut(stories, tmp_path / "theirs", [n_first])
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_the_keys(stories: Path, tmp_path: Path) -> None:
    paths = gs.open(stories).plan(gs.repeat("1:3")).write_shards(tmp_path / "new.gguf", 10**6)
    for number, file in enumerate(open_gguf(paths[0]).shards):
        keys = {pair.key: (int(pair.value_type), pair.value) for pair in file.header.pairs[-3:]}
        assert keys == {
            "split.no": (U16, number),
            "split.count": (U16, 2),
            "split.tensors.count": (I32, 66),
        }
        assert (len(file.header.pairs) == 3) == (number > 0)


def test_keys_that_a_merged_source_still_has(tmp_path: Path) -> None:
    """As llama-gguf-split leaves them; the patched file is verified all the same."""
    source = tmp_path / "source.gguf"
    merged = (pair("split.no", U16, 0), pair("split.count", U16, 0))
    source.write_bytes(llama_model(3, *merged, pair("split.tensors.count", I32, 8)))
    paths = gs.open(source).plan(PATH).write_shards(tmp_path / "new.gguf", 4400)
    assert len(paths) > 1
    checks = {check.name: check.ok for check in gs.verify(paths[1], source).checks}
    assert checks["metadata"] and checks["tensors"] and checks["gguf-py agrees"]


def test_what_llama_gguf_split_merges_is_proven_too(tmp_path: Path) -> None:
    """It leaves split keys in the file."""
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(3))
    patch(source, tmp_path / "new.gguf", PATH)
    model = open_gguf(tmp_path / "new.gguf")
    header = replace(model.header, pairs=(*model.header.pairs, *split_keys(0, 0, 10)))
    raw = serialize_header(header)
    data = (tmp_path / "new.gguf").read_bytes()[model.layout.data_start :]
    (tmp_path / "new.gguf").write_bytes(raw + bytes(-len(raw) % 32) + data)
    checks = {check.name: check.ok for check in gs.verify(tmp_path / "new.gguf", source).checks}
    assert checks["metadata"] and checks["tensors"] and checks["gguf-py agrees"]
    # So is what was made of a file that it merged since.
    with_pairs(source, lambda pairs: [*pairs, *split_keys(0, 0, 8)])
    found = {check.name: check for check in gs.verify(tmp_path / "new.gguf", source).checks}
    assert found["source"].detail.endswith("without the split keys that llama-gguf-split added")
    assert found["metadata"].ok and found["tensors"].ok


@pytest.mark.parametrize(
    ("max_n_bytes", "says"),
    [
        (100, r"its metadata take [\d,]+ bytes, and cannot be cut"),
        (700, r"tensor 'blk.0.big.weight' takes [\d,]+ bytes"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, max_n_bytes: int, says: str) -> None:
    source = tmp_path / "source.gguf"
    big = Tensor("blk.0.big.weight", (256,), bytes(1024))
    source.write_bytes(gguf(llama_pairs(1), [Tensor("token_embd.weight"), big]))
    write_plan = plan(source, LayerPath.identity(1)).write_plan
    with pytest.raises(RefusedError, match=says):
        in_shards(write_plan, max_n_bytes)


def test_too_many(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    tensors = [Tensor(f"blk.0.{n}.weight", (64,), bytes(256)) for n in range(MAX_SHARDS + 9)]
    source.write_bytes(gguf(llama_pairs(1), tensors))
    write_plan = plan(source, LayerPath.identity(1)).write_plan
    with pytest.raises(RefusedError, match=f"loads no more than about {MAX_SHARDS}"):
        in_shards(write_plan, 520)


def test_bytes_behind_the_tensors(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(3) + b"more")
    with pytest.raises(RefusedError, match="4 bytes follow the tensors"):
        in_shards(plan(source, PATH).write_plan, 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alignment", "parts"),
    [("llama-moe", 32, 3), ("gemma-dense", 64, 2), ("gemma4_per_layer-dense", 32, 4)],
)
def test_llama_cpp_runs_them(name: str, alignment: int, parts: int, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    source = with_alignment(expand_named(name, tmp_path / "a.gguf"), tmp_path / "b.gguf", alignment)
    planned = gs.open(source).plan(LayerPath("0..5,4..7"))
    paths = planned.write_shards(tmp_path / "new.gguf", planned.n_bytes // parts)
    assert len(paths) >= parts
    outcome = gs.verify(paths[-1], source, devices=gs.Devices(n_threads=1))
    outcome.raise_if_failed()
    assert {c.name: c.ok for c in outcome.checks}["aliased = written"]


def test_a_first_shard_of_metadata_alone_runs(stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    model = gs.open(stories)
    planned = model.plan(gs.repeat("1:3"))
    largest = max(model.file.layout.tensor_n_bytes)
    paths = planned.write_shards(tmp_path / "new.gguf", largest + 5000)
    assert open_gguf(paths[0]).shards[0].header.tensors == ()
    with gs.load(paths[1], gs.Devices(n_threads=1)) as shards:
        text = shards.generate("Once upon a time", max_tokens=5).text
    with gs.load(stories, gs.Devices(n_threads=1)) as source:
        assert source.generate("Once upon a time", gs.repeat("1:3"), max_tokens=5).text == text
