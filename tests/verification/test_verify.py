"""verify: it holds for what patch writes, and each kind of damage is found and named."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.conftest import ROOT, Run
from tests.models.builders import ARRAY, STRING, U32, gguf, llama_model, llama_pairs, pair

pytestmark = pytest.mark.slow

PATH = LayerPath.of([0, 1, 2, 3, 2, 3, 4])
Write = Callable[..., Path]


@pytest.fixture
def patched(stories: Path, tmp_path: Path) -> Path:
    path = tmp_path / "patched.gguf"
    patch(stories, path, PATH)
    return path


def failures(patched: Path, source: Path) -> dict[str, str]:
    outcome = gs.verify(patched, source)
    return {check.name: check.detail for check in outcome.checks if check.ok is False}


def test_what_patch_writes_holds(stories: Path, patched: Path, surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    done = surgeon("verify", patched, "--source", stories, "--chunks", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] and told["layer_path"] == "0..3,2..4"
    assert all(check["ok"] for check in told["checks"])
    assert told["patched_run"]["n_blocks"] == 7
    assert told["patched_run"]["generation"]["n_tokens"] == 16
    assert told["patched_run"]["perplexity"] is told["source_run"]["perplexity"] is None
    assert done.stderr == ""
    assert told["proven"] == [
        "19 metadata pairs",
        "66 tensors (1,534,720 bytes)",
        "7 blocks run",
        "routed logits of 128 tokens equal to the bit",
        "aliased logits of 128 tokens equal to the bit",
        "123,424 tokens read alike",
    ]
    assert told["unproven"] == []


def test_what_was_proven_is_counted_in_the_last_line(
    stories: Path, patched: Path, surgeon: Run
) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    done = surgeon("verify", patched, "--source", stories)
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("proven: 19 metadata pairs, 66 tensors (1,534,720 bytes), 7 blocks run,")
    assert last.endswith("not measured: perplexity (--thorough)")
    thorough = surgeon("verify", patched, "--source", stories, "--thorough", "--chunks", "2")
    last = thorough.stdout.rstrip().splitlines()[-1]
    assert "perplexity of the source finite" in last and "not measured" not in last
    damage(patched, patched.stat().st_size - 1000)
    failed = surgeon("verify", patched, "--source", stories)
    last = failed.stdout.rstrip().splitlines()[-1]
    assert "failed: tensors" in last and "66 tensors" not in last and "unproven: runs" in last


def test_a_real_quantized_model_holds(smollm2: Path, tmp_path: Path, surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    patched = tmp_path / "rys.gguf"
    assert surgeon("patch", smollm2, patched, "--window", "10:17").returncode == 0
    done = surgeon("verify", patched, "--source", smollm2, "--chunks", "2")
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout and "unproven" not in done.stdout


def test_a_copy_holds_as_the_identity_path(stories: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(stories.read_bytes())
    assert failures(copy, stories) == {}


def damage(path: Path, offset: int, n_bytes: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for at in range(offset, offset + n_bytes):
        data[at] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name", ["token_embd.weight", "blk.0.attn_q.weight", "blk.5.ffn_up.weight"]
)
@pytest.mark.parametrize("end", ["first", "last"])
def test_one_wrong_byte_is_found(stories: Path, patched: Path, name: str, end: str) -> None:
    file = open_gguf(patched)
    index = [tensor.name for tensor in file.header.tensors].index(name)
    last = file.layout.tensor_n_bytes[index] - 1
    damage(patched, file.offset_in_file(index) + (0 if end == "first" else last))
    assert failures(patched, stories) == {"tensors": f"differ from their source: {name}"}


def test_another_source_is_found(patched: Path, write: Write) -> None:
    assert "made from another file" in failures(patched, write(llama_model(5)))["source"]


def test_another_source_is_told_from_a_bad_file(patched: Path, write: Write, surgeon: Run) -> None:
    for n_blocks in (2, 5):  # with fewer blocks than the path asks for, too
        done = surgeon("verify", patched, "--source", write(llama_model(n_blocks)))
        assert done.returncode == 7
        assert "was not made from" in done.stderr and "as the source" in done.stderr


def test_swapped_files_are_told(stories: Path, patched: Path, surgeon: Run) -> None:
    done = surgeon("verify", stories, "--source", patched)
    assert done.returncode == 2
    assert "are the two swapped?" in done.stderr


def test_a_source_that_does_not_run_is_not_the_patched_files_fault(
    write: Write, surgeon: Run
) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    source = write(llama_model(3), "source.gguf")
    patched = source.with_name("patched.gguf")
    patch(source, patched, LayerPath.of([0, 1, 1, 2]))
    done = surgeon("verify", patched, "--source", source)
    assert done.returncode == 7
    assert "source.gguf does not run in llama.cpp" in done.stderr
    assert "The structure holds" in done.stderr


def edit(patched: Path, source: Path, old: bytes, new: bytes) -> dict[str, str]:
    data = patched.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    patched.write_bytes(data.replace(old, new))
    return failures(patched, source)


def test_a_changed_key_is_found(stories: Path, patched: Path) -> None:
    old = pair("llama.attention.head_count", U32, 8)
    found = edit(patched, stories, old, pair("llama.attention.head_count", U32, 4))
    assert found == {"metadata": "llama.attention.head_count is not as it should be"}


def test_a_renamed_key_is_found(stories: Path, patched: Path) -> None:
    found = edit(patched, stories, b"llama.context_length", b"llama.context_lengtH")
    assert found == {"metadata": "llama.context_lengtH is new; llama.context_length is missing"}


def test_a_tensor_of_another_type_is_found(stories: Path, patched: Path) -> None:
    name = b"blk.5.attn_norm.weight" + struct.pack("<IQ", 1, 64)
    found = edit(patched, stories, name + struct.pack("<I", 0), name + struct.pack("<I", 26))
    assert found == {"tensors": "differ from their source: blk.5.attn_norm.weight"}


def test_swapped_blocks_are_found(stories: Path, patched: Path) -> None:
    data = patched.read_bytes()
    for old, new in (("1", "9"), ("2", "1"), ("9", "2")):
        name, other = f"blk.{old}.ffn_norm.weight", f"blk.{new}.ffn_norm.weight"
        data = data.replace(name.encode(), other.encode())
    patched.write_bytes(data)
    assert failures(patched, stories)["tensors"].count("ffn_norm.weight") == 2


def tiny_pair(write: Write, after: list[int]) -> tuple[Path, Path]:
    """A source with a per-layer array, and a patched file in which that array is `after`."""
    array = pair("llama.swiglu_clamp_exp", ARRAY, (U32, [5, 6, 7]))
    source = write(llama_model(3, array), "source.gguf")
    patched = source.with_name("patched.gguf")
    patch(source, patched, LayerPath.of([0, 1, 1, 2]))
    old = pair("llama.swiglu_clamp_exp", ARRAY, (U32, [5, 6, 6, 7]))
    data = patched.read_bytes()
    assert data.count(old) == 1
    new = pair("llama.swiglu_clamp_exp", ARRAY, (U32, after))
    patched.write_bytes(data.replace(old, new))
    return patched, source


def test_a_wrongly_indexed_array_is_found(write: Write) -> None:
    patched, source = tiny_pair(write, [5, 6, 7, 7])
    assert failures(patched, source)["metadata"] == "llama.swiglu_clamp_exp is not as it should be"


def test_a_file_that_names_no_path_is_a_usage_error(
    stories: Path, write: Write, surgeon: Run
) -> None:
    done = surgeon("verify", write(llama_model(5)), "--source", stories)
    assert done.returncode == 2
    assert "does not say which layer path" in done.stderr


@pytest.mark.parametrize("blocks", ["", "0..99", "1:0..2", "x"])
def test_a_path_that_cannot_be_is_malformed(write: Write, surgeon: Run, blocks: str) -> None:
    source = write(llama_model(3), "source.gguf")
    claims = [
        pair("layer_path.blocks", STRING, blocks),
        pair("layer_path.source_header_sha256", STRING, open_gguf(source).header_sha256),
        pair("layer_path.source_n_bytes", 10, 1),
    ]
    done = surgeon("verify", write(gguf(llama_pairs(3, *claims))), "--source", source)
    assert done.returncode == 3
    assert "its recorded layer path does not fit" in done.stderr


def test_a_failure_has_its_exit_code(stories: Path, patched: Path, surgeon: Run) -> None:
    damage(patched, patched.stat().st_size - 1000)
    done = surgeon("verify", patched, "--source", stories)
    assert done.returncode == 7
    assert "FAILED" in done.stdout and "does not hold what it claims: tensors" in done.stderr


@pytest.mark.parametrize("options", [(), ("--n-gpu-layers", "1")])
def test_without_llama_cpp_the_structure_is_proven(
    options: tuple[str, ...], stories: Path, patched: Path, surgeon: Run, tmp_path: Path
) -> None:
    hiding = tmp_path / "hiding"
    (hiding / "llama_cpp").mkdir(parents=True)
    (hiding / "llama_cpp/__init__.py").write_text("raise ImportError('not installed')")
    paths = {"PYTHONPATH": f"{hiding}:{ROOT}", "PATH": "/usr/bin:/bin"}
    done = surgeon("verify", patched, "--source", stories, *options, env=paths)
    assert done.returncode == 8
    assert "pip install 'ggufsurgeon[llama]'" in done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines() if "ok" in line.split()]
    assert [row[0] for row in rows] == ["source", "metadata", "tensors", "gguf-py"]
