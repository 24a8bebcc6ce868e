"""`restore`, as a user runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_original_comes_back_through_two_patches(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    assert surgeon("patch", stories, "once.gguf", "--window", "1:3").returncode == 0
    assert surgeon("patch", "once.gguf", "twice.gguf", "--layers", "6,0..5").returncode == 0
    done = surgeon("restore", "twice.gguf", "back.gguf")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "wrote back.gguf: the original, 1.19 MB; undone: layer path 6,0..5, then 0..2,1..4\n"
    )
    assert sha256(tmp_path / "back.gguf") == sha256(stories)
    with Unchanged(tmp_path):
        again = surgeon("restore", "twice.gguf", "back.gguf")
        assert_told(again, 4, "back.gguf exists")
        assert_told(surgeon("restore", "twice.gguf", "twice.gguf", "--replace"), 4, "itself")
    assert surgeon("restore", "once.gguf", "back.gguf", "--replace").returncode == 0
    assert sha256(tmp_path / "back.gguf") == sha256(stories)


def test_a_real_model_comes_back(surgeon: Run, smollm2: Path, tmp_path: Path) -> None:
    assert surgeon("patch", smollm2, "patched.gguf", "--window", "10:17").returncode == 0
    assert surgeon("restore", "patched.gguf", "back.gguf").returncode == 0
    assert sha256(tmp_path / "back.gguf") == sha256(smollm2)


def test_what_is_gone_is_refused(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    assert surgeon("patch", stories, "less.gguf", "--drop", "1:3").returncode == 0
    assert surgeon("patch", "less.gguf", "more.gguf", "--window", "1:2").returncode == 0
    with Unchanged(tmp_path):
        assert_told(surgeon("restore", "less.gguf", "back.gguf"), 4, "leaves out block 1..2 of 5")
        assert_told(surgeon("restore", stories, "back.gguf"), 4, "records no patch")
        assert_told(surgeon("restore", "missing.gguf", "back.gguf"), 2, "cannot be opened")
    done = surgeon("restore", "more.gguf", "back.gguf")
    assert done.returncode == 0 and "note: it is a patched file itself" in done.stdout
    assert sha256(tmp_path / "back.gguf") == sha256(tmp_path / "less.gguf")
