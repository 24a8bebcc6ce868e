"""MTP blocks left out, or taken from a donor: what is in the file, what comes back, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import LostError, RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mtp_change.changing import change_mtp
from ggufsurgeon.verification.structures.mtp_blocks import check_mtp_blocks
from tests.models.builders import (
    ARRAY,
    F32,
    STRING,
    U32,
    Tensor,
    block_tensors,
    gguf,
    pair,
    with_text,
)
from tests.models.companions import lora
from tests.models.expanding import expand_named
from tests.models.sharding import cut_evenly

ARCH = "glm4moe"


def model(
    n_trunk: int,
    n_mtp: int,
    *more: bytes,
    fill: int = 0,
    architecture: str = ARCH,
    width: int = 8,
    heads: tuple[int, ...] = (),
    only: range | None = None,
) -> bytes:
    """A model whose blocks have one tensor of a byte that names the block, plus `fill`."""
    n_blocks = n_trunk + n_mtp
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair("general.name", STRING, "Tiny"),
        pair(f"{architecture}.block_count", U32, n_blocks),
        pair(f"{architecture}.embedding_length", U32, width),
        *[pair(f"{architecture}.nextn_predict_layers", U32, n_mtp)] * bool(n_mtp),
        *[pair(f"{architecture}.attention.head_count", ARRAY, (U32, list(heads)))] * bool(heads),
        *more,
    ]
    outside = [t for t in block_tensors(0)] if only is None else []
    blocks = [
        Tensor(f"blk.{n}.attn_norm.weight", (8,), bytes([(n + fill) % 256] * 32))
        for n in (range(n_blocks) if only is None else only)
    ]
    return gguf(pairs, [*outside[:1], *blocks, *outside[1:]])


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def blocks_of(path: Path) -> list[int]:
    """The byte of each block of a file, in order of its blocks."""
    file, data = gs.open(path).file, path.read_bytes()
    found = {}
    for index, tensor in enumerate(file.header.tensors):
        if tensor.name.startswith("blk."):
            found[int(tensor.name.split(".")[1])] = data[file.offset_in_file(index)]
    assert list(found.values()) and sorted(found) == list(range(len(found)))
    return [found[n] for n in range(len(found))]


def numbers(path: Path) -> tuple[object, ...]:
    metadata = gs.open(path).metadata
    keys = ("block_count", "nextn_predict_layers", "attention.head_count")
    return tuple(metadata.get(f"{ARCH}.{key}") for key in keys)


PATH = LayerPath("0..2,1..3")


def test_left_out(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 2, heads=(1, 2, 3, 4, 5, 6)))
    plan = gs.open(source).plan(PATH, without_mtp=True)
    assert any("no MTP blocks, but its source has" in note for note in plan.notes)
    patched = plan.write(tmp_path / "patched.gguf")
    assert blocks_of(patched) == [0, 1, 2, 1, 2, 3]
    assert numbers(patched) == (6, 0, [1, 2, 3, 2, 3, 4])
    restored = gs.open(patched).restore(tmp_path / "restored.gguf")
    assert "original, block 4..5 of 6, were left out or replaced" in restored.remaining
    assert blocks_of(tmp_path / "restored.gguf") == [0, 1, 2, 3]
    with pytest.raises(LostError, match=r"block 4\.\.5 of 6, were left out or"):
        gs.open(tmp_path / "restored.gguf").restore(tmp_path / "again.gguf")


@pytest.mark.parametrize("only", [None, range(4, 6)])
def test_taken_from_a_whole_model_or_from_one_of_mtp_blocks_alone(
    only: range | None, tmp_path: Path
) -> None:
    source = written(tmp_path / "source.gguf", model(4, 0, heads=(1, 2, 3, 4)))
    data = model(4, 2, fill=100, heads=(1, 2, 3, 4, 5, 6), only=only)
    donor = written(tmp_path / "donor.gguf", data)
    patched = gs.open(source).plan(PATH, mtp_from=donor).write(tmp_path / "patched.gguf")
    assert blocks_of(patched) == [0, 1, 2, 1, 2, 3, 104, 105]
    assert numbers(patched) == (8, 2, [1, 2, 3, 2, 3, 4, 5, 6])
    restored = gs.open(patched).restore(tmp_path / "restored.gguf")
    assert not restored.remaining
    assert (tmp_path / "restored.gguf").read_bytes() == source.read_bytes()
    joined = gs.open(source).plan(LayerPath("0..3"), mtp_from=donor).write(tmp_path / "joined.gguf")
    assert blocks_of(joined) == [0, 1, 2, 3, 104, 105]
    gs.open(joined).restore(tmp_path / "restored.gguf", replace=True)
    assert (tmp_path / "restored.gguf").read_bytes() == source.read_bytes()
    twice = gs.open(patched).plan(gs.drop("0:1")).write(tmp_path / "twice.gguf")
    assert blocks_of(twice) == [1, 2, 1, 2, 3, 104, 105]


def test_taken_in_place_of_the_source_s_own(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 1, heads=(1, 2, 3, 4, 5)))
    donor = written(tmp_path / "donor.gguf", model(4, 2, fill=100, heads=(1, 2, 3, 4, 7, 8)))
    plan = gs.open(source).plan(PATH, mtp_from=donor)
    assert any("in place of its source's own" in note for note in plan.notes)
    patched = plan.write(tmp_path / "patched.gguf")
    assert blocks_of(patched) == [0, 1, 2, 1, 2, 3, 104, 105]
    assert numbers(patched) == (8, 2, [1, 2, 3, 2, 3, 4, 7, 8])
    restored = gs.open(patched).restore(tmp_path / "restored.gguf")
    assert "MTP blocks of the original, block 4 of 5, were left out or rep" in restored.remaining


def test_the_padding_and_the_end_of_the_source_come_back(tmp_path: Path) -> None:
    data = bytearray(model(4, 0))
    header = gs.open(written(tmp_path / "plain.gguf", bytes(data))).file
    data[header.header_n_bytes] = 7  # padding, which is zeros elsewhere
    source = written(tmp_path / "source.gguf", bytes(data) + b"behind all tensors")
    donor = written(tmp_path / "donor.gguf", model(4, 1, fill=100))
    patched = gs.open(source).plan(PATH, mtp_from=donor).write(tmp_path / "patched.gguf")
    gs.open(patched).restore(tmp_path / "restored.gguf")
    assert (tmp_path / "restored.gguf").read_bytes() == source.read_bytes()


def test_shards_of_both(tmp_path: Path) -> None:
    whole = written(tmp_path / "source.gguf", model(4, 0))
    donor = written(tmp_path / "donor.gguf", model(4, 2, fill=100))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    source, parts = (
        cut_evenly(whole, tmp_path / "a/source"),
        cut_evenly(donor, tmp_path / "b/donor"),
    )
    patched = gs.open(source[0]).plan(PATH, mtp_from=parts[1]).write(tmp_path / "patched.gguf")
    assert blocks_of(patched) == [0, 1, 2, 1, 2, 3, 104, 105]
    (tmp_path / "r").mkdir()
    gs.open(patched).restore(tmp_path / "r/source.gguf")
    assert [p.read_bytes() for p in sorted((tmp_path / "r").iterdir())] == [
        p.read_bytes() for p in source
    ]


def refusal(tmp_path: Path, source: bytes, donor: bytes) -> str:
    here, there = written(tmp_path / "source.gguf", source), written(tmp_path / "d.gguf", donor)
    with pytest.raises(RefusedError) as caught:
        gs.open(here).plan(PATH, mtp_from=there)
    assert caught.value.exit_code == 4
    return str(caught.value)


TOKENS = ("tokenizer.ggml.tokens", ARRAY)


@pytest.mark.parametrize(
    ("source", "donor", "why"),
    [
        ({}, {"architecture": "glm4"}, "architecture is 'glm4moe' in"),
        ({}, {"n_trunk": 5}, "number of blocks before MTP blocks is 4 in"),
        ({}, {"n_mtp": 0}, "has no MTP (multi-token prediction) blocks"),
        ({}, {"width": 16}, "glm4moe.embedding_length is 8 in"),
        (
            {"heads": (1, 2, 3, 4)},
            {"heads": (1, 2, 9, 4, 5)},
            "glm4moe.attention.head_count is [1, 2, 3, 4]",
        ),
        ({"heads": (1, 2, 3, 4)}, {}, "glm4moe.attention.head_count is [1, 2, 3, 4]"),
        (
            {"more": pair("glm4moe.rope.freq_base", F32, 1e6)},
            {},
            "glm4moe.rope.freq_base is 1000000.0",
        ),
        (
            {"more": pair(*TOKENS, (STRING, ["a", "b", "c"]))},
            {"more": pair(*TOKENS, (STRING, ["a", "x", "c"]))},
            "token 1 is 'x' in",
        ),
        (
            {"more": pair("general.quantization_version", U32, 2)},
            {"more": pair("general.quantization_version", U32, 3)},
            "general.quantization_version is 2 in",
        ),
        ({}, {"only": range(4, 4)}, "holds no blocks"),
    ],
)
def test_a_donor_of_another_model(
    source: dict[str, Any], donor: dict[str, Any], why: str, tmp_path: Path
) -> None:
    def made(options: dict[str, Any], n_mtp: int) -> bytes:
        more = options.pop("more", None)
        sizes = options.pop("n_trunk", 4), options.pop("n_mtp", n_mtp)
        return model(*sizes, *([more] if more else []), **options)

    if why == "holds no blocks":
        counted = model(4, 1, only=range(4))
        assert "counts block 4 as an MTP" in refusal(tmp_path, model(4, 0), counted)
        return
    assert why in refusal(tmp_path, made(dict(source), 0), made(dict(donor), 1))


def test_requests_that_make_no_sense(tmp_path: Path) -> None:
    source = gs.open(written(tmp_path / "source.gguf", model(4, 0)))
    with pytest.raises(RefusedError, match="has no MTP blocks that could be left out"):
        source.plan(PATH, without_mtp=True)
    with pytest.raises(UsageError, match="but not both"):
        source.plan(PATH, without_mtp=True, mtp_from=source)
    with pytest.raises(UsageError, match="the model of the output"):
        source.plan(PATH, without_mtp=True, others=[source])


def test_what_does_not_follow(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 1))
    plan = gs.open(source).plan(PATH, without_mtp=True)
    with pytest.raises(RefusedError, match="the path leaves out block 4"):
        plan.write_in_place()
    donor = written(tmp_path / "donor.gguf", model(4, 1, fill=100))
    with pytest.raises(RefusedError, match=r"MTP blocks are taken from .*donor"):
        gs.open(source).plan(LayerPath("0..3"), mtp_from=donor).write_in_place()
    assert source.read_bytes() == model(4, 1)


def test_a_companion_of_the_original_follows(tmp_path: Path) -> None:
    source = expand_named("step35_mtp-moe", tmp_path / "source.gguf")
    donor = written(tmp_path / "donor.gguf", source.read_bytes())
    adapter = written(tmp_path / "lora.gguf", lora(source))
    bare = gs.open(source).plan(LayerPath("0..7"), without_mtp=True).write(tmp_path / "bare.gguf")
    for patched, n_blocks in (
        (gs.open(source).plan(LayerPath("0..3,2..7"), without_mtp=True), 10),
        (gs.open(source).plan(LayerPath("0..7"), without_mtp=True), 8),
        (gs.open(source).plan(LayerPath("0..3,2..7"), mtp_from=donor), 10),
    ):
        made = patched.write(tmp_path / "patched.gguf", replace=True)
        plan = gs.open(source).plan_companion(adapter, patched=made)
        moved = plan.write(tmp_path / "moved.gguf", replace=True)
        names = [tensor.name for tensor in gs.open(moved).file.header.tensors]
        assert {int(name.split(".")[1]) for name in names} == set(range(n_blocks))
    with pytest.raises(RefusedError, match="was not made from"):
        gs.open(bare).plan_companion(adapter, patched=tmp_path / "patched.gguf")


def test_a_file_that_is_edited_later_is_not_restored(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 0))
    donor = written(tmp_path / "donor.gguf", model(4, 1, fill=100))
    patched = gs.open(source).plan(PATH, mtp_from=donor).write(tmp_path / "patched.gguf")
    changed = with_text(patched.read_bytes(), "general.author", "somebody")
    with pytest.raises(RefusedError, match="lacks the recorded SHA-256"):
        gs.open(written(tmp_path / "changed.gguf", changed)).restore(tmp_path / "r.gguf")


def test_the_check_of_verify_is_written_against_the_format(tmp_path: Path) -> None:
    heads = (1, 2, 3, 4, 5)
    source = open_gguf(written(tmp_path / "s.gguf", model(4, 1, heads=heads)))
    donor = open_gguf(written(tmp_path / "d.gguf", model(4, 2, heads=(1, 2, 3, 4, 6, 7))))
    without, given = change_mtp(source, None).readable, change_mtp(source, donor).readable
    assert check_mtp_blocks(without, source, None).ok
    assert check_mtp_blocks(given, source, donor).ok
    for changed, of in ((without, donor), (given, None), (source, None), (source, donor)):
        assert not check_mtp_blocks(changed, source, of).ok
    other = open_gguf(written(tmp_path / "o.gguf", model(4, 2, heads=(1, 2, 3, 4, 8, 9))))
    assert "head_count" in check_mtp_blocks(given, source, other).detail
    others = open_gguf(written(tmp_path / "w.gguf", model(4, 1, heads=(9, 2, 3, 4, 5))))
    assert "head_count" in check_mtp_blocks(without, others, None).detail
