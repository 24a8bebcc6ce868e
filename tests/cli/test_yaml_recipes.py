"""Recipes in YAML from their text to proven files and running models, as a user does it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import ggufsurgeon as gs
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.writing.plans import temporaries
from tests.yaml_recipes.published import DAMPED, PUBLISHED, Damped, Published

SHUFFLED = "4,3,2,1,0"
SCALES = "[{filter: o_proj, value: 0.5}, {filter: down_proj, value: 0.5}, {value: 1.0}]"


def deep(stories: Path, path: Path, n_blocks: int, blocks: str = "0..4") -> Path:
    """A real model of so many blocks, which are those of stories again and again."""
    whole = ",".join([blocks] * (n_blocks // 5 + 1))
    steps = gs.LayerPath(whole).steps[:n_blocks]
    return gs.open(stories).plan(gs.LayerPath(steps)).write(path)


def write_models(published: Published | Damped, stories: Path, folder: Path) -> list[str]:
    """Files for the models of a recipe, and the options that name all but the first."""
    deep(stories, folder / "model.gguf", published.n_source_blocks)
    options = []
    for n, name in enumerate(published.models[1:], 1):
        deep(stories, folder / f"model{n}.gguf", published.n_source_blocks, SHUFFLED)
        options += ["--with", f"{name}=model{n}.gguf"]
    (folder / "recipe.yaml").write_text(published.yaml())
    return options


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_becomes_a_proven_file_in_one_command(
    name: str, surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    options = write_models(PUBLISHED[name], stories, tmp_path)
    recipe = ("--recipe", "recipe.yaml", *options)
    done = surgeon("patch", "model.gguf", "new.gguf", *recipe, "--verify", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["layer_path"] == PUBLISHED[name].layers
    assert told["verification"]["ok"] is True
    checks = {check["name"]: check["ok"] for check in told["verification"]["checks"]}
    assert checks["routed = written"] and checks["aliased = written"]
    files = told["other_sources"]
    assert files == [f"model{n}.gguf" for n in range(1, len(PUBLISHED[name].models))]


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMPED)
def test_a_damped_recipe_becomes_a_proven_file_in_one_command(
    name: str, surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    options = write_models(DAMPED[name], stories, tmp_path)
    recipe = ("--recipe", "recipe.yaml", *options)
    done = surgeon("patch", "model.gguf", "new.gguf", *recipe, "--verify", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["layer_path"], told["verification"]["ok"]) == (DAMPED[name].layers, True)
    checks = {check["name"]: check["ok"] for check in told["verification"]["checks"]}
    assert checks["routed = written"] and checks["aliased = written"]


@pytest.fixture
def pair(stories: Path, tmp_path: Path) -> Path:
    """Two models of 6 blocks, and a recipe over both in mergekit's format and in ours."""
    deep(stories, tmp_path / "a.gguf", 6)
    deep(stories, tmp_path / "b.gguf", 6, SHUFFLED)
    (tmp_path / "mergekit.yaml").write_text(
        "slices:\n"
        "  - sources: [{model: org/a, layer_range: [0, 4]}]\n"
        f"  - sources: [{{model: org/b, layer_range: [2, 6], parameters: {{scale: {SCALES}}}}}]\n"
        "merge_method: passthrough\n"
        "tokenizer_source: org/a\n"
        "dtype: bfloat16\n"
    )
    sha256 = hashlib.sha256((tmp_path / "b.gguf").read_bytes()).hexdigest()
    (tmp_path / "own.yaml").write_text(
        f"sources:\n  org/a:\n  org/b: {{sha256: {sha256}}}\n"
        "layers: org/a:0..3, org/b:2..5*0.5\n"
        "tokenizer: org/a\n"
    )
    return tmp_path


WITH_B = ("--with", "org/b=b.gguf")


def test_both_formats_give_the_file_of_the_layer_path(surgeon: Run, pair: Path) -> None:
    expected = surgeon(
        "patch", "a.gguf", "c.gguf", "--layers", "0..3,1:2..5*0.5", "--with", "b.gguf"
    )
    assert expected.returncode == 0, expected.stderr
    for recipe in ("mergekit.yaml", "own.yaml"):
        done = surgeon("patch", "a.gguf", "d.gguf", "--replace", "--recipe", recipe, *WITH_B)
        assert done.returncode == 0, done.stderr
        assert (pair / "d.gguf").read_bytes() == (pair / "c.gguf").read_bytes()
        assert ("dtype: bfloat16 does not apply" in done.stdout) == (recipe == "mergekit.yaml")
        proof = "prove it: ggufsurgeon verify d.gguf --source a.gguf --with b.gguf\n"
        assert proof in done.stdout
    planned = json.loads(
        surgeon("plan", "a.gguf", "--recipe", "own.yaml", *WITH_B, "--json").stdout
    )
    assert planned["layer_path"] == "0..3,1:2..5*0.5"


def test_plan_says_which_file_stands_for_which_name(surgeon: Run, pair: Path) -> None:
    plan = ("plan", "b.gguf", "--recipe", "own.yaml", "--json", "--with")
    notes = json.loads(surgeon(*plan, "org/a=a.gguf").stdout)["notes"]
    said = "models of the recipe by their numbers in the layer path: "
    assert f"{said}0 is 'org/b', b.gguf, 1 is 'org/a', a.gguf" in notes
    assert not any("same file" in note for note in notes)
    notes = json.loads(surgeon(*plan, "org/a=b.gguf").stdout)["notes"]
    same = "'org/b' and 'org/a' of the recipe are the same file, b.gguf, so its"
    assert any(note.startswith(same) for note in notes)
    (pair / "alone.yaml").write_text("layers: 0..5,5\n")
    alone = surgeon("plan", "a.gguf", "--recipe", "alone.yaml", "--json")
    assert not any("the recipe" in note for note in json.loads(alone.stdout)["notes"])


def test_models_run_along_a_recipe(surgeon: Run, pair: Path) -> None:
    assert surgeon("patch", "a.gguf", "c.gguf", "--recipe", "own.yaml", *WITH_B).returncode == 0
    asked = ("--prompt", "Once upon", "--tokens", "12", "--threads", "1")
    written = surgeon("generate", "c.gguf", *asked)
    along = surgeon("generate", "a.gguf", "--recipe", "own.yaml", *WITH_B, *asked)
    assert along.returncode == 0, along.stderr
    assert along.stdout == written.stdout
    assert "along 0..3,1:2..5*0.5 (aliased)" in along.stderr
    turned = ("generate", "b.gguf", "--recipe", "mergekit.yaml", "--with", "org/a=a.gguf")
    other_way = surgeon(*turned, *asked)
    assert other_way.stdout == written.stdout
    assert "note: dtype: bfloat16 does not apply" in other_way.stderr
    (pair / "text.txt").write_text("Once upon a time there was a girl. " * 40)
    text = ("--text", "text.txt", "--ctx", "64", "--chunks", "4", "--threads", "1", "--json")
    of_path = json.loads(
        surgeon("perplexity", "a.gguf", "--recipe", "own.yaml", *WITH_B, *text).stdout
    )
    of_file = json.loads(surgeon("perplexity", "c.gguf", *text, "--base", "a.gguf").stdout)
    assert of_path["perplexity"] == of_file["perplexity"]
    assert of_path["base"]["perplexity"] == of_file["base"]["perplexity"]
    for command in (("perplexity", *text[:-1]), ("chat",), ("serve", "--port", "0")):
        arguments = (command[0], "b.gguf", "--recipe", "own.yaml", "--with", "org/a=a.gguf")
        told = surgeon(*arguments, *command[1:])
        assert_told(told, 4, "from another model than b.gguf, and this command also runs that")


def test_what_is_not_right_is_told_and_nothing_written(surgeon: Run, pair: Path) -> None:
    mixing = "merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: 0.5}\n"
    (pair / "slerp.yaml").write_text(mixing)
    text = (pair / "own.yaml").read_text()
    (pair / "far.yaml").write_text(text.replace("2..5", "2..6"))
    (pair / "alone.yaml").write_text("layers: 0..5,5\n")
    write = ("patch", "a.gguf", "new.gguf", "--recipe")
    with Unchanged(pair):
        assert_told(surgeon(*write, "slerp.yaml"), 4, "'slerp' mixes weights")
        assert_told(surgeon(*write, "own.yaml"), 2, "--with NAME=FILE")
        assert_told(surgeon(*write, "own.yaml", "--with", "b.gguf"), 2, "NAME=b.gguf, with the")
        on_hub = surgeon(*write, "hf://org/model/own.yaml")
        assert_told(on_hub, 2, "hf://org/model/own.yaml is the name of a model, but a recipe is")
        assert_told(surgeon(*write, "own.yaml", "--with", "b=b.gguf"), 2, "names no model 'b'")
        alone = surgeon(*write, "alone.yaml", *WITH_B)
        assert_told(alone, 2, "alone.yaml is for one model, which is the source: it names none")
        assert_told(surgeon(*write, "far.yaml", *WITH_B), 2, "line 4: layers: blocks 2 to 6 of")
        missing = ("--with", "org/b=none.gguf")
        assert_told(surgeon(*write, "own.yaml", *missing), 2, "none.gguf: cannot be opened")
        hashed = surgeon(*write, "own.yaml", "--with", "org/b=a.gguf")
        assert_told(hashed, 4, "a.gguf is not the file that the recipe 'own.yaml' names")
        assert hashlib.sha256((pair / "a.gguf").read_bytes()).hexdigest() in hashed.stderr
        layers = surgeon(*write, "own.yaml", *WITH_B, "--layers", "0..3")
        assert_told(layers, 2, "--recipe gives the layer path")
        proof = surgeon("patch", "a.gguf", "--in-place", "--layers", "0..5,5", "--verify")
        assert_told(proof, 2, "--verify and --in-place exclude")
        onto = surgeon("patch", "a.gguf", "own.yaml", "--recipe", "own.yaml", *WITH_B, "--replace")
        assert_told(onto, 4, "itself")
    assert not temporaries(pair)


def test_a_file_of_another_recipe_is_told(surgeon: Run, pair: Path) -> None:
    (pair / "other.yaml").write_text((pair / "own.yaml").read_text() + "name: Duet\n")
    for recipe, says in (("other.yaml", "general.name differs"), ("own.yaml", "")):
        done = surgeon("patch", "a.gguf", "c.gguf", "--replace", "--recipe", "own.yaml", *WITH_B)
        assert done.returncode == 0
        sources = ("--source", "a.gguf", *WITH_B, "--threads", "1")
        found = surgeon("verify", "c.gguf", *sources, "--recipe", recipe, "--json")
        assert found.returncode == (7 if says else 0), found.stderr
        check = json.loads(found.stdout)["checks"][-1]
        assert (check["name"], check["ok"]) == ("recipe", not says)
        assert says in check["detail"]
        assert ("c.gguf is not the file of the recipe" in found.stderr) == bool(says)


def test_the_name_of_a_recipe_is_that_of_the_model_and_is_rebuilt(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    (tmp_path / "named.yaml").write_text("name: Tiny Goliath-1.0\nlayers: 0..2,1..4\n")
    done = surgeon("patch", stories, "new.gguf", "--recipe", "named.yaml")
    assert done.returncode == 0, done.stderr
    assert gs.open(tmp_path / "new.gguf").metadata["general.name"] == "Tiny Goliath-1.0"
    assert surgeon("patch", "new.gguf", "twice.gguf", "--window", "0:1").returncode == 0
    lines = surgeon("recipe", "twice.gguf").stdout
    assert ", named Tiny Goliath-1.0\n" in lines
    (tmp_path / "recipe.txt").write_text(lines)
    assert surgeon("patch", stories, "again.gguf", "--recipe", "recipe.txt").returncode == 0
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "twice.gguf").read_bytes()
    back = surgeon("restore", "twice.gguf", "back.gguf")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back.gguf").read_bytes() == stories.read_bytes()
    several = surgeon("patch", stories, "x.gguf", "--recipe", "recipe.txt", "--verify")
    assert_told(several, 2, "this recipe has 2 patches")
    along = surgeon("generate", stories, "--recipe", "recipe.txt", "-p", "Once", "-n", "4")
    assert along.returncode == 0, along.stderr
    assert "along 0,0..2,1..4" in along.stderr


def test_what_recipe_prints_for_mergekit_is_read_back(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    path = ("--layers", "0..2,1..3*0.25,4")
    assert surgeon("patch", stories, "new.gguf", *path).returncode == 0
    (tmp_path / "printed.yaml").write_text(surgeon("recipe", "new.gguf", "--as", "mergekit").stdout)
    done = surgeon("patch", stories, "again.gguf", "--recipe", "printed.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()


def test_patch_proves_what_it_wrote(surgeon: Run, stories: Path) -> None:
    patch = ("patch", stories, "new.gguf", "--window", "1:3", "--threads", "1")
    assert_told(surgeon(*patch), 2, "options of devices are for --verify")
    done = surgeon(*patch, "--verify")
    assert done.returncode == 0, done.stderr
    assert "wrote new.gguf\n" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("proven: 19 metadata pairs") and "--thorough" not in last
