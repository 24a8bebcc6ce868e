"""Which architectures can have strengths, held against llama.cpp itself; and what verify finds."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ggufsurgeon.architectures.strengths import EXACT
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.structures.structure import check_metadata, check_tensors
from tests.calls import patch
from tests.conftest import ROOT
from tests.verification.running import run_matrix

HEADERS = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))
STORIES = ROOT / "fixtures/stories260K.gguf"
PATH = LayerPath("0..2,1..2*0.5,3..4*0.25")
N_SHARES = 6
ALIASED_ALONE = {"dots3note", "glm-dsa", "nanbeige"}
"""More than the residual stream may go from block to block, so that no strength can be routed."""

UNPROVEN = {"qwen4exp"}
"""It passes the laws but for one block: no path is without that which has per-layer embeddings."""


@pytest.mark.slow
@pytest.mark.parametrize("share", range(N_SHARES))
def test_the_table_is_what_llama_cpp_does(share: int) -> None:
    """Scales do all that a strength means in the architectures of the table, and in no other."""
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    models = [path.stem for path in HEADERS][share::N_SHARES]
    lines = run_matrix(models, n_processes=1, program="tests.verification.strengths")
    for line in lines:
        if line["architecture"] in EXACT:
            assert line["as_weights"] and line["as_dropped"], line
            way = "exact aliased" if line["architecture"] in ALIASED_ALONE else "exact"
            assert line["compared"] == [way] * 2, line
        elif line["status"] == "examined":
            passes = line["as_weights"] and line["as_dropped"]
            assert not passes or line["architecture"] in UNPROVEN, line
            assert all(found.startswith("refused") for found in line["compared"]), line


def test_each_architecture_of_the_table_has_a_model() -> None:
    there = {parse_header(path.read_bytes(), path.name)[0].architecture for path in HEADERS}
    assert there >= EXACT >= ALIASED_ALONE
    page = (ROOT / "docs/layer-paths.md").read_text()
    assert all(f"`{name}`" in page for name in EXACT)


@pytest.fixture
def patched(tmp_path: Path) -> Path:
    patch(STORIES, tmp_path / "patched.gguf", PATH)
    return tmp_path / "patched.gguf"


def wrong(patched: Path, path: LayerPath = PATH) -> str:
    files = open_gguf(patched), open_gguf(STORIES)
    checks = (check_metadata(*files, path), check_tensors(*files, path))
    return "; ".join(check.detail for check in checks if not check.ok)


def test_what_patch_writes_holds(patched: Path) -> None:
    assert not wrong(patched)
    detail = check_tensors(open_gguf(patched), open_gguf(STORIES), PATH).detail
    assert detail.endswith("identical, and 8 factors of weights")


@pytest.mark.parametrize("name", ["blk.3.attn_output.scale", "blk.6.ffn_down.scale"])
def test_a_scale_of_another_value_is_found(patched: Path, name: str) -> None:
    file = open_gguf(patched)
    index = [tensor.name for tensor in file.header.tensors].index(name)
    at = file.offset_in_file(index)
    data = bytearray(patched.read_bytes())
    assert data[at : at + 4] == struct.pack("<f", 0.5 if name.startswith("blk.3") else 0.25)
    data[at] ^= 1  # the last bit
    patched.write_bytes(data)
    assert wrong(patched) == f"differ from the factors of their block: {name}"


def test_a_scale_elsewhere_is_found(patched: Path) -> None:
    name, other = b"blk.3.attn_output.scale", b"blk.2.attn_output.scale"
    patched.write_bytes(patched.read_bytes().replace(name, other))
    found = wrong(patched)
    assert "layer_path.added_tensors is not as it should be" in found
    assert "missing or left over: blk.2.attn_output.scale, blk.3.attn_output.scale" in found


def test_another_strength_is_found(patched: Path) -> None:
    assert "differ from the factors of their block" in wrong(
        patched, LayerPath("0..2,1..2*.5,3..4*.5")
    )
    assert "left over" in wrong(patched, LayerPath("0..2,1..4"))
