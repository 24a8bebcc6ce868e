"""`recipe`, and `patch --recipe`, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
from pathlib import Path

from tests.cli.failing import Unchanged, assert_told
from tests.conftest import ROOT, Run
from tests.models.builders import STRING, U32, block_tensors, gguf, llama_model, pair
from tests.models.expanding import expand
from tests.models.fine_tunes import fine_tune
from tests.planning.test_mtp_change import model
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
        assert_told(other, 4, "its SHA-256 differs")
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


def printed_command(text: str) -> list[str]:
    """The command in the comments of a recipe."""
    (command,) = re.findall(r"^#   ggufsurgeon (.*)$", text, re.MULTILINE)
    return shlex.split(command)


def test_files_of_the_same_header_that_are_swapped_are_thought_of(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        fine_tune(stories, tmp_path / f"{seed}.gguf", seed)
    layers = ("--layers", "0..1,1:1..2,2:3..4", "--with", "1.gguf", "--with", "2.gguf")
    assert surgeon("patch", stories, "new.gguf", *layers).returncode == 0
    publish(surgeon, "new.gguf", tmp_path)
    (tmp_path / "ORIGINAL.gguf").write_bytes(model(4, 0))
    for seed in (1, 2):
        (tmp_path / f"donor{seed}.gguf").write_bytes(model(4, 2, fill=seed))
    swapped = ("--with", "model-1=2.gguf", "--with", "model-2=1.gguf")
    told = "Files with the same header may be swapped, or wrong"
    recipe = ("--recipe", "recipe.txt")
    with Unchanged(tmp_path):
        done = surgeon("patch", stories, "NEW.gguf", *recipe, *swapped)
    assert done.returncode == 7 and told in done.stderr, done.stderr
    of_donor = ("--window", "1:3", "--mtp-from", "donor1.gguf")
    assert surgeon("patch", "ORIGINAL.gguf", "mtp.gguf", *of_donor).returncode == 0
    publish(surgeon, "mtp.gguf", tmp_path)
    with Unchanged(tmp_path):
        done = surgeon(
            "patch", "ORIGINAL.gguf", "NEW.gguf", *recipe, "--with", "mtp-donor=donor2.gguf"
        )
    assert done.returncode == 7 and told in done.stderr, done.stderr


def test_a_recipe_of_several_models_rebuilds_their_file(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    layers = ("--layers", "0..2,1:1..4*0.5", "--with", "second.gguf")
    assert surgeon("patch", stories, "once.gguf", *layers).returncode == 0
    assert surgeon("patch", "once.gguf", "twice.gguf", "--drop", "1:2").returncode == 0
    (tmp_path / "MODEL_0.gguf").write_bytes(stories.read_bytes())
    (tmp_path / "MODEL_1.gguf").write_bytes((tmp_path / "second.gguf").read_bytes())
    for name in ("once.gguf", "twice.gguf"):
        text = publish(surgeon, name, tmp_path)
        assert "\nlayers: model-0:0..2, model-1:1..4*0.5\n" in text
        (tmp_path / "THIS_FILE").write_text(text)
        done = surgeon(*printed_command(text))
        assert done.returncode == 0, done.stderr
        assert "\nwrote NEW.gguf: its SHA-256 is that of the recipe\n" in done.stdout
        assert (tmp_path / "NEW.gguf").read_bytes() == (tmp_path / name).read_bytes()
        (tmp_path / "NEW.gguf").unlink()
    found = json.loads(surgeon("recipe", "once.gguf", "--json").stdout)
    assert [m["name"] for m in found["further_models"]] == ["model-1"]
    assert found["patches"][0]["outside_blocks"] == {"embeddings": 0, "output": 1, "tokenizer": 0}
    alone = ("patch", stories, "NEW.gguf", "--recipe", "THIS_FILE")
    with Unchanged(tmp_path):
        missing = surgeon(*alone)
        assert_told(missing, 2, "no file is given for 'model-1'")
        assert "--with NAME=FILE" in missing.stderr
        assert_told(surgeon(*alone, "--with", "x=second.gguf"), 2, "names no model 'x'")
        turned = surgeon("patch", "second.gguf", *alone[2:], "--with", f"model-0={stories}")
        assert_told(turned, 2, "'model-0' is the first model of the recipe")
        assert_told(surgeon(*alone, "--with", "model-1=once.gguf"), 4, "is not the file of the")


def test_a_recipe_of_several_models_in_the_notation_of_other_tools(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    surgeon("patch", stories, "both.gguf", "--layers", "0..2,1:1..4", "--with", "second.gguf")
    done = surgeon("recipe", "both.gguf", "--as", "mergekit")
    assert (done.returncode, done.stderr) == (0, "")
    digest = json.loads(surgeon("inspect", "second.gguf", "--json").stdout)["header_sha256"]
    assert f"# ORIGINAL_1: the GGUF whose header has the SHA-256 {digest}.\n" in done.stdout
    (tmp_path / "mergekit.yml").write_text(done.stdout)
    further = ("--recipe", "mergekit.yml", "--with", "ORIGINAL_1=second.gguf")
    again = surgeon("patch", stories, "again.gguf", *further)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "both.gguf").read_bytes()
    tied = "mergekit writes no output head of that model"
    assert tied in done.stdout
    around = ("--layers", "0..2,1:1..4,4", "--with", "second.gguf")
    surgeon("patch", stories, "around.gguf", *around)
    assert tied not in surgeon("recipe", "around.gguf", "--as", "mergekit").stdout
    for tool in ("exllamav3", "rys", "llm-circuit-finder"):
        refused = surgeon("recipe", "both.gguf", "--as", tool)
        assert_told(refused, 2, f"over several models: {tool} runs or writes the blocks of one")


def test_a_recipe_of_other_mtp_blocks(surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "ORIGINAL.gguf").write_bytes(model(4, 1))
    (tmp_path / "MTP_DONOR.gguf").write_bytes(model(4, 2, fill=100))
    window = ("--window", "1:3", "--replace")
    options = {"set their number": ("--without-mtp",), "(2) of": ("--mtp-from", "MTP_DONOR.gguf")}
    for told, option in options.items():
        assert surgeon("patch", "ORIGINAL.gguf", "new.gguf", *window, *option).returncode == 0
        text = publish(surgeon, "new.gguf", tmp_path)
        (tmp_path / "THIS_FILE").write_text(text)
        done = surgeon(*printed_command(text), "--replace")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "NEW.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()
        for tool in ("mergekit", "exllamav3", "rys", "llm-circuit-finder"):
            assert told in surgeon("recipe", "new.gguf", "--as", tool).stdout
        further = ("--with", "b=MTP_DONOR.gguf") if "MTP_DONOR.gguf" in option else ()
        named = "sources:\n  a:\n  b:\nlayers: a:0..2, a:1..3\nmtp: b\n"
        (tmp_path / "own.yml").write_text(named if further else "layers: 0..2, 1..3\nmtp: none\n")
        own = ("patch", "ORIGINAL.gguf", "own.gguf", "--replace", "--recipe", "own.yml")
        made = surgeon(*own, *further)
        assert made.returncode == 0, made.stderr
        assert (tmp_path / "own.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()
        donor = "--mtp-from MTP_DONOR.gguf" if further else ""
        assert f"verify own.gguf --source ORIGINAL.gguf {donor}".strip() in made.stdout


def test_swapped_models_with_one_header_are_suspected_of_another_result(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    for seed, name in enumerate(("b", "c"), 1):
        fine_tune(stories, tmp_path / f"{name}.gguf", seed)
    models = ("--with", "b.gguf", "--with", "c.gguf")
    done = surgeon("patch", stories, "new.gguf", *models, "--layers", "0..2,1:3,2:4")
    assert done.returncode == 0, done.stderr
    (tmp_path / "new.yml").write_text(surgeon("recipe", "new.gguf").stdout)
    swapped = ("--with=model-1=c.gguf", "--with=model-2=b.gguf")
    with Unchanged(tmp_path):
        done = surgeon("patch", stories, "again.gguf", "--recipe", "new.yml", *swapped)
        assert_told(done, 7, "it was not kept")
    assert "may be swapped" in " ".join(done.stderr.split())
