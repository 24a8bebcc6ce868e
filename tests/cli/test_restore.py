"""`restore`, as a user runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.planning.test_mtp_change import model


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


def test_why_there_is_no_way_back_to_mtp_blocks_and_several_models(
    surgeon: Run, tmp_path: Path
) -> None:
    (tmp_path / "whole.gguf").write_bytes(model(4, 2))
    (tmp_path / "other.gguf").write_bytes(model(4, 2, fill=100))
    lost = "the MTP blocks of the original, block 4..5 of 6, were left out or replaced: this file"
    mixed = "the file was made from several models, with the layer path 0..2,1:1..5: it has no"
    cases = {
        lost: (
            ("--layers", "0..3", "--without-mtp"),
            ("--layers", "0..3", "--mtp-from", "other.gguf"),
        ),
        mixed: (("--layers", "0..2,1:1..3", "--with", "other.gguf"),),
    }
    for why, options in cases.items():
        for option in options:
            done = surgeon("patch", "whole.gguf", "new.gguf", *option, "--replace")
            assert done.returncode == 0, done.stderr
            again = surgeon("patch", "new.gguf", "twice.gguf", "--window", "1:3", "--replace")
            assert again.returncode == 0, again.stderr
            with Unchanged(tmp_path):
                assert_told(surgeon("restore", "new.gguf", "back.gguf"), 4, why)
            back = surgeon("restore", "twice.gguf", "back.gguf", "--replace")
            assert back.returncode == 0, back.stderr
            assert why in " ".join((back.stdout + back.stderr).split())
            assert sha256(tmp_path / "back.gguf") == sha256(tmp_path / "new.gguf")


def test_what_comes_back_of_a_file_with_other_mtp_blocks_is_named(
    surgeon: Run, tmp_path: Path
) -> None:
    (tmp_path / "whole.gguf").write_bytes(model(4, 2))
    (tmp_path / "other.gguf").write_bytes(model(4, 2, fill=100))
    for options, what in (
        (["--without-mtp"], "the original without its MTP blocks, "),
        (["--mtp-from", "other.gguf"], "the original with the MTP blocks of another file, "),
    ):
        new = surgeon("patch", "whole.gguf", "new.gguf", "--window", "1:3", *options, "--replace")
        assert new.returncode == 0, new.stderr
        back = surgeon("restore", "new.gguf", "back.gguf", "--replace")
        assert back.stdout.startswith(f"wrote back.gguf: {what}")
        note = back.stdout.splitlines()[-1]
        assert note.startswith("note: the MTP blocks of the original cannot be restored: ")


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
