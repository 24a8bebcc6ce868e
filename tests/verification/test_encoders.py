"""Encoders: verify embeds a text, perplexity refuses, and their headers are as the script says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from tests.conftest import ROOT, Run
from tests.models.expanding import expand

pytestmark = pytest.mark.slow

HEADERS = ROOT / "fixtures/arch_headers"
ENCODERS = runpy.run_path(str(ROOT / "fixtures/make_encoder_headers.py"))
STEMS = sorted(ENCODERS["ENCODERS"])


@pytest.mark.parametrize("stem", STEMS)
def test_the_script_writes_the_headers_that_are_here(stem: str, tmp_path: Path) -> None:
    ENCODERS["write"](tmp_path / "header.gguf", ENCODERS["ENCODERS"][stem])
    assert (tmp_path / "header.gguf").read_bytes() == (HEADERS / f"{stem}.gguf").read_bytes()


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    return expand(HEADERS / "bert-dense.gguf", tmp_path / "bert.gguf", 0)


def verify(source: Path, surgeon: Run) -> tuple[int, dict[str, str]]:
    """The exit code, and what became of each check."""
    patched = source.with_name("patched.gguf")
    assert surgeon("patch", source, patched, "--window", "2:5").returncode == 0
    done = surgeon("verify", patched, "--source", source, "--json")
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["name"]: check["detail"] for check in checks}


def test_verify_embeds_a_text(bert: Path, surgeon: Run) -> None:
    code, details = verify(bert, surgeon)
    assert code == 0
    n_embd = ENCODERS["EMBD"]
    for name in ("source runs", "patched runs"):
        assert details[name] == f"loads, embeds 14 tokens in {n_embd} dimensions"
    assert details["blocks"] == "llama.cpp runs 11 of 11"


def test_verify_shows_no_text_of_an_encoder(bert: Path, surgeon: Run) -> None:
    done = surgeon("verify", bert, "--source", bert)
    assert done.returncode == 0
    assert "embeds" in done.stdout and "Shakespeare" not in done.stdout


def test_embeddings_that_are_no_numbers_are_found(bert: Path, surgeon: Run) -> None:
    file = open_gguf(bert)
    names = [tensor.name for tensor in file.header.tensors]
    data = bytearray(bert.read_bytes())
    at = file.offset_in_file(names.index("blk.7.layer_output_norm.bias"))
    data[at : at + 4] = np.float32("nan").tobytes()
    bert.write_bytes(data)
    code, details = verify(bert, surgeon)
    assert code == 7
    assert "its embeddings are not finite numbers" in details["source runs"]


def test_perplexity_refuses_an_encoder(bert: Path, surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hear me speak. " * 99)
    done = surgeon("perplexity", bert, "--text", tmp_path / "text.txt", "--ctx", "64")
    assert done.returncode == 2
    assert "it is an encoder" in done.stderr and "does not predict the next token" in done.stderr
