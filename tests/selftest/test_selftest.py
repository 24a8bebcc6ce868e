"""`selftest` holds here, says what it could not check, and fails in a broken program."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from ggufsurgeon.api.model_files.files import open_model
from ggufsurgeon.selftest.tiny_model import N_BLOCKS, tiny_model
from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run

BROKEN_RESTORE = """
import ggufsurgeon as gs
from ggufsurgeon.cli.app import main
restore = gs.ModelFile.restore
def broken(self, destination, **options):
    found = restore(self, destination, **options)
    with open(destination, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    return found
gs.ModelFile.restore = broken
main()
"""


NOT_INSTALLED = """
import importlib.metadata as metadata
version = metadata.version
def version_of_installed(name):
    if name == "ggufsurgeon":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = version_of_installed
from ggufsurgeon.__main__ import main
main()
"""


def test_without_an_installation_it_says_to_install(stories: Path, tmp_path: Path) -> None:
    destination = tmp_path / "new.gguf"
    for arguments in (
        ["selftest"],
        ["--version"],
        ["patch", stories, destination, "--window", "1:3"],
    ):
        command = [sys.executable, "-c", NOT_INSTALLED, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert_told(done, 2, "ggufsurgeon is not installed in this Python")
        assert "Install it first" in done.stderr
    assert not destination.exists()


def test_the_tiny_model_is_a_model_and_always_the_same(tmp_path: Path) -> None:
    content = tiny_model()
    assert content == tiny_model()
    (tmp_path / "tiny.gguf").write_bytes(content)
    model = open_model(tmp_path / "tiny.gguf")
    assert (model.architecture, model.n_blocks) == ("llama", N_BLOCKS)
    names = [tensor.name for tensor in model.file.header.tensors]
    hashes = zip(names, model.hashes().tensors, strict=True)
    queries = {digest for name, digest in hashes if "attn_q" in name}
    assert len(queries) == N_BLOCKS, "a block in the wrong place must be seen"


def test_all_holds_here(surgeon: Run, tmp_path: Path) -> None:
    has_llama = importlib.util.find_spec("llama_cpp") is not None
    done = surgeon("selftest", "--threads", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["ok"] is (True if has_llama else None)
    assert len(found["checks"]) == 8
    details = " ".join(check["detail"] for check in found["checks"])
    assert details.count("aliased logits of 128 tokens equal to the bit") == 4 * has_llama
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_what_cannot_be_run_is_said(surgeon: Run, tmp_path: Path) -> None:
    package = tmp_path / "without/llama_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('none here')\n")
    path = f"{package.parent}{os.pathsep}{ROOT}"
    done = surgeon("selftest", env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4 ok, 4 skipped"
    assert "file proven; not run: " in done.stdout


def test_a_broken_program_fails(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_RESTORE, "selftest", "--threads", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 7
    assert "error: the selftest failed: restore: the original, to the byte" in done.stderr
    assert "1 FAILED" in done.stdout.splitlines()[-1]
    assert "restored.gguf differs from original.gguf" in done.stdout


def test_a_disk_that_takes_no_files_is_told(tmp_path: Path) -> None:
    command = f"ulimit -f 100; exec '{sys.executable}' -m ggufsurgeon selftest"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert_told(done, 5, "original.gguf: File too large")
