"""`recipe`, and `patch --recipe`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

from tests.cli.failing import Unchanged, assert_told
from tests.conftest import ROOT, Run
from tests.models.builders import STRING, U32, block_tensors, gguf, llama_model, pair
from tests.models.expanding import expand
from tests.writing.plans import temporaries


def publish(surgeon: Run, patched: str, folder: Path) -> str:
    """Print the recipe of a patched file, and keep it in a file."""
    done = surgeon("recipe", patched)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "recipe.txt").write_text(done.stdout)
    return done.stdout


def test_a_recipe_rebuilds_what_two_patches_made(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    assert surgeon("patch", stories, "once.gguf", "--window", "1:3").returncode == 0
    for options, knows_source in ((("--layers", "6,0..5"), True), (("--drop", "3:5"), False)):
        done = surgeon("patch", "once.gguf", "twice.gguf", *options, "--replace")
        assert done.returncode == 0
        text = publish(surgeon, "twice.gguf", tmp_path)
        assert re.findall("^patch: ([0-9.,]+) by", text, re.MULTILINE)[0] == "0..2,1..4"
        assert ("\nsource-sha256: " in text) == knows_source
        rebuilt = surgeon("patch", stories, "again.gguf", "--recipe", "recipe.txt", "--replace")
        assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
        assert "\nwrote again.gguf: its SHA-256 is that of the recipe\n" in rebuilt.stdout
        assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "twice.gguf").read_bytes()


def test_what_is_not_right_is_told_and_nothing_written(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    assert surgeon("patch", stories, "patched.gguf", "--window", "1:3").returncode == 0
    text = publish(surgeon, "patched.gguf", tmp_path)
    weights = bytearray(stories.read_bytes())
    weights[-9] ^= 1
    (tmp_path / "other.gguf").write_bytes(weights)
    last = re.sub("result-sha256: .", "result-sha256: f", text)
    last = last if last != text else re.sub("result-sha256: .", "result-sha256: e", text)
    (tmp_path / "wrong.txt").write_text(last)
    (tmp_path / "bad.txt").write_text(f"{text}name: \x1b[2J\n")
    write = ("patch", stories, "new.gguf", "--recipe")
    with Unchanged(tmp_path):
        other = surgeon("patch", "other.gguf", "new.gguf", "--recipe", "recipe.txt")
        assert_told(other, 4, "its SHA-256 is another one")
        again = surgeon("patch", "patched.gguf", "new.gguf", "--recipe", "recipe.txt")
        assert_told(again, 4, "it has 1,5")
        assert_told(surgeon(*write, "wrong.txt"), 7, "it was not kept")
        assert_told(surgeon(*write, "bad.txt"), 2, "bad.txt, line 11: 'name: \\x1b[2J'")
        assert_told(surgeon(*write, "missing.txt"), 2, "missing.txt does not exist")
        assert_told(surgeon(*write, tmp_path), 2, "is a folder: expected a file with a recipe")
        assert_told(surgeon(*write, stories), 2, "is no recipe")
        assert_told(surgeon(*write, "recipe.txt", "--drop", "1:2"), 2, "--recipe gives the layer")
        sized = ("other.gguf", "--recipe", "recipe.txt", "--split-max-size", "1M")
        for command in (("patch", *sized, "new.gguf"), ("plan", *sized)):  # before it is hashed
            assert_told(surgeon(*command), 2, "--recipe and --split-max-size exclude each other")
        onto = surgeon("patch", stories, "recipe.txt", "--recipe", "recipe.txt", "--replace")
        assert_told(onto, 4, "itself")
        assert_told(surgeon("recipe", stories), 4, "records no patch")
    assert not temporaries(tmp_path)


def test_a_recipe_holds_no_text_of_the_model(surgeon: Run, tmp_path: Path) -> None:
    hostile = pair("general.description", STRING, "\x1b]0;hijacked\x07\npatch: 0 by ggufsurgeon 1")
    (tmp_path / "hostile.gguf").write_bytes(llama_model(3, hostile))
    assert surgeon("patch", "hostile.gguf", "patched.gguf", "--window", "0:1").returncode == 0
    text = publish(surgeon, "patched.gguf", tmp_path)
    assert all(re.fullmatch(r"#.*|[a-z0-9-]+: [0-9a-z., ]+", line) for line in text.splitlines())
    assert text.count("\npatch: ") == 1


def test_a_recipe_that_comes_by_a_pipe(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    assert surgeon("patch", stories, "patched.gguf", "--window", "1:3").returncode == 0
    text = publish(surgeon, "patched.gguf", tmp_path)
    write = ("patch", stories, "new.gguf", "--replace", "--recipe")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
    writer.start()
    for name in ("pipe", "-"):
        done = surgeon(*write, name, input=text)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "patched.gguf").read_bytes()
        (tmp_path / "new.gguf").unlink()
    writer.join()
    assert_told(surgeon(*write, "-", input="nonsense"), 2, "standard input, line 1: 'nonsense'")


def test_the_path_over_the_original_in_the_notation_of_other_tools(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    surgeon("patch", stories, "once.gguf", "--window", "1:3")
    surgeon("patch", "once.gguf", "twice.gguf", "--layers", "6,0..5")
    asked = ("recipe", "twice.gguf", "--as")
    done = surgeon(*asked, "exllamav3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["4,0..2,1..3"]
    found = json.loads(surgeon(*asked, "mergekit", "--json").stdout)
    assert (found["layer_path"], found["notes"]) == ("4,0..2,1..3", [])
    assert_told(surgeon("recipe", stories, "--as", "rys"), 4, "records no patch")


def test_what_another_tool_does_not_do_is_told(surgeon: Run, tmp_path: Path) -> None:
    expand(ROOT / "fixtures/arch_headers/gemma3-dense.gguf", tmp_path / "sliding.gguf", 0)
    with_mtp = [
        pair("general.architecture", STRING, "qwen35"),
        pair("qwen35.block_count", U32, 5),
        pair("qwen35.nextn_predict_layers", U32, 1),
        pair("qwen35.full_attention_interval", U32, 1),
    ]
    (tmp_path / "mtp.gguf").write_bytes(gguf(with_mtp, block_tensors(5)))
    for name, told in (("sliding.gguf", "(sliding; global)"), ("mtp.gguf", "MTP blocks (1)")):
        made = surgeon("patch", name, "patched.gguf", "--window", "2:4", "--replace")
        assert made.returncode == 0, made.stderr
        text = surgeon("recipe", "patched.gguf", "--as", "mergekit").stdout
        assert told in text
        assert all(line.startswith("#") for line in text.partition("merge_method")[0].splitlines())
        of_exllamav3 = surgeon("recipe", "patched.gguf", "--as", "exllamav3").stdout
        assert ("MTP" in of_exllamav3, "sliding" in of_exllamav3) == (name == "mtp.gguf", False)
    assert of_exllamav3.endswith("\n0..3,2..3\n")
