"""`diff`, as a user runs it."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.blocks import find_blocks
from tests.calls import patch
from tests.cli.failing import assert_told
from tests.cli.test_output import assert_harmless, evil_model, raw
from tests.conftest import Run
from tests.models.expanding import expand_named
from tests.models.naive import patch_naively
from tests.models.scales import without_scales


def test_what_a_patch_did_is_found(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    patch(stories, tmp_path / "b.gguf", LayerPath("3,0..4,2..4"))
    done = surgeon("diff", stories, "b.gguf")
    assert (done.returncode, done.stderr) == (7, "")
    assert " llama.block_count " in done.stdout
    assert done.stdout.endswith(
        "The blocks of B are those of the layer path 3,0..4,2..4 over A.\n"
        "Names and records aside, B is what patch makes of A along it.\n"
    )
    same = surgeon("diff", stories, stories)
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout.endswith("All keys and tensors are equal.\n")


def test_strengths_are_found(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    path = LayerPath("0..1,2..3*0.5,2..3*0.25,4")
    patch(stories, tmp_path / "b.gguf", path)
    done = surgeon("diff", stories, "b.gguf")
    assert "the same, with the strength 0.25" in done.stdout
    assert done.stdout.endswith(
        f"The blocks of B are those of the layer path {path} over A.\n"
        "Names and records aside, B is what patch makes of A along it.\n"
    )
    told = json.loads(surgeon("diff", stories, "b.gguf", "--json").stdout)
    assert told["layer_path"] == str(path)
    assert [block["strength"] for block in told["blocks"]] == list(path.strengths)
    assert [block["same_as"] for block in told["blocks"]] == list(path.blocks)


def test_factors_are_found(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    path = LayerPath("0..1,2..3*0.5*attn_q=0.25,2*attn_output=0.5*ffn_down=0.75,3..4*attn_k=2")
    patch(stories, tmp_path / "b.gguf", path)
    done = surgeon("diff", stories, "b.gguf")
    assert "the same, with the strength 0.5 and attn_q times 0.25" in done.stdout
    assert "the same, with attn_output times 0.5 and ffn_down times 0.75" in done.stdout
    told = json.loads(surgeon("diff", stories, "b.gguf", "--json").stdout)
    assert told["layer_path"] == str(path)
    assert [block["factors"] for block in told["blocks"]] == [dict(s.factors) for s in path.steps]
    # Over a file that has factors itself, only what was added is told.
    more = LayerPath("0..4,2*0.5,5..6,2*attn_q=2")
    patch(tmp_path / "b.gguf", tmp_path / "c.gguf", more)
    told = json.loads(surgeon("diff", "b.gguf", "c.gguf", "--json").stdout)
    assert told["blocks"][5]["same_as"] is None  # 0.5 times 0.5 in one scale
    patch(tmp_path / "b.gguf", tmp_path / "d.gguf", LayerPath("0..6,6*0.5,4*attn_k=0.5"))
    told = json.loads(surgeon("diff", "b.gguf", "d.gguf", "--json").stdout)
    assert told["layer_path"] == "0..6,6*0.5,4*attn_k=0.5"


@pytest.mark.parametrize("name", ["qwen2-dense", "cohere2-dense", "qwen3moe-moe"])
def test_factors_of_weights_with_biases_are_found(name: str, surgeon: Run, tmp_path: Path) -> None:
    """Their biases are multiplied themselves, and tell of which block they are."""
    without_scales(expand_named(name, tmp_path / "a.gguf"))
    last = len(find_blocks(open_gguf(tmp_path / "a.gguf"))) - 1
    path = LayerPath(f"0..{last},1*attn_q=0.84*attn_k=0.3,0*attn_q=0.84*attn_k=0.3,2*attn_k=2")
    patch(tmp_path / "a.gguf", tmp_path / "b.gguf", path)
    told = json.loads(surgeon("diff", "a.gguf", "b.gguf", "--json").stdout)
    assert (told["layer_path"], told["unexplained"]) == (str(path), [])
    # Other biases behind the same weights and scales are a difference.
    data = bytearray((tmp_path / "b.gguf").read_bytes())
    made = open_gguf(tmp_path / "b.gguf")
    names = [tensor.name for tensor in made.header.tensors]
    data[made.offset_in_file(names.index(f"blk.{last + 1}.attn_q.bias"))] ^= 1
    (tmp_path / "b.gguf").write_bytes(data)
    told = json.loads(surgeon("diff", "a.gguf", "b.gguf", "--json").stdout)
    assert told["blocks"][last + 1]["same_as"] is None


def test_scales_that_are_no_strength_are_differences(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    """A negative number, NaN, 1, and a number that 32 bits hold with less precision."""
    patch(stories, tmp_path / "b.gguf", LayerPath("0..2,3*0.5,4"))
    data, half = (tmp_path / "b.gguf").read_bytes(), struct.pack("<f", 0.5)
    places = [at for at in range(0, len(data), 4) if data[at : at + 4] == half][-2:]
    for numbers in ((-0.5, -0.5), (math.nan, math.nan), (1.0, 1.0), (1e-40, 1e-40)):
        broken = bytearray(data)
        for at, number in zip(places, numbers, strict=True):
            broken[at : at + 4] = struct.pack("<f", number)
        (tmp_path / "c.gguf").write_bytes(broken)
        done = surgeon("diff", stories, "c.gguf")
        assert (done.returncode, done.stderr) == (7, "")
        assert "2 of 11 tensors differ: attn_output.scale, ffn_down.scale" in done.stdout
        assert "No layer path over A is found" in done.stdout


def test_one_changed_weight_is_found(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    data = bytearray(stories.read_bytes())
    data[-9] ^= 1
    (tmp_path / "b.gguf").write_bytes(data)
    done = surgeon("diff", stories, "b.gguf", "--json")
    assert done.returncode == 7
    told = json.loads(done.stdout)
    assert told["same_header"] and not told["same"] and told["layer_path"] is None
    assert [block["same_as"] for block in told["blocks"]] == [0, 1, 2, 3, None]
    assert told["blocks"][4]["differing"] == ["ffn_norm.weight"]
    text = surgeon("diff", stories, "b.gguf").stdout
    assert "1 of 9 tensors differ: ffn_norm.weight" in text
    assert "4 of 5 are blocks of A" in text


def test_metadata_that_other_tools_leave_behind_are_named(surgeon: Run, tmp_path: Path) -> None:
    source = expand_named("gemma4_per_layer-dense", tmp_path / "a.gguf")
    path = LayerPath.of([*range(4), *range(1, 8)])
    patch_naively(source, tmp_path / "naive.gguf", path)
    patch(source, tmp_path / "right.gguf", path)
    naive = surgeon("diff", "a.gguf", "naive.gguf").stdout
    assert f"layer path {path} over A." in naive
    assert "What patch would make of A has other: gemma4." in naive
    assert "per_layer_token_embd.weight" in naive
    right = json.loads(surgeon("diff", "a.gguf", "right.gguf", "--json").stdout)
    assert right["unexplained"] == []
    assert {"per_layer_token_embd.weight"} <= right["tensors"].keys()


def test_texts_in_files_are_shown_harmless(tmp_path: Path, stories: Path) -> None:
    (tmp_path / "evil.gguf").write_bytes(evil_model())
    for pair in ((str(stories), "evil.gguf"), ("evil.gguf", str(stories))):
        code, output, errors = raw("diff", *pair, folder=tmp_path)
        assert (code, errors) == (7, b"")
        assert_harmless(output)


def test_what_is_no_model_is_told(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no model")
    assert_told(surgeon("diff", stories, "text.gguf"), 3, "not a GGUF")
    assert_told(surgeon("diff", "missing.gguf", stories), 2, "missing.gguf")
