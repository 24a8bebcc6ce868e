"""`card`, as a user runs it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.models.expanding import expand_named
from tests.models.hostile import hostile_model
from tests.models.scales import without_scales
from tests.models.sharding import with_pairs
from tests.planning.test_mtp_change import model
from tests.publishing.ollama import parse_modelfile

WINDOW = ("--window", "1:3")
SHORT = ("--ctx", "64", "--chunks", "4", "--threads", "1", "--json")


def outline(card: str) -> list[str]:
    """The structure of a card's Markdown, behind its front matter: the kinds of its parts."""
    body = card.split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    within = [child for token in tokens for child in token.children or ()]
    return [token.type for token in tokens] + [
        token.type for token in within if not token.type.startswith("text")
    ]


def test_patch_names_the_command_and_the_card_rebuilds_the_file(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    patched = surgeon("patch", stories, "rys.gguf", *WINDOW)
    assert patched.stdout.splitlines()[-1].startswith("model card, and commands")
    done = surgeon("card", "rys.gguf")
    assert done.returncode == 0 and "Nothing was measured" in done.stdout
    assert "ggufsurgeon perplexity rys.gguf --base ORIGINAL.gguf" in done.stderr
    assert surgeon("card", "rys.gguf", "--quiet").stderr == ""
    (recipe,) = re.findall(r"^```text\n(.*?)^```", done.stdout, re.MULTILINE | re.DOTALL)
    assert recipe == surgeon("recipe", "rys.gguf").stdout
    rebuilt = surgeon("patch", stories, "again.gguf", "--recipe", "-", input=recipe)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "rys.gguf").read_bytes()
    joined = surgeon("patch", stories, "same.gguf", "--layers", "0..4")
    assert "model card" not in joined.stdout
    assert_told(surgeon("card", "same.gguf"), 4, "records no patch")


def test_a_card_says_what_strengths_and_factors_multiply(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    without_scales(expand_named("qwen2-dense", tmp_path / "qwen2.gguf"))
    surgeon("patch", "qwen2.gguf", "biased.gguf", "--layers", "0..7,6*attn_q=0.84")
    assert "the biases of queries and keys are multiplied" in surgeon("card", "biased.gguf").stdout
    surgeon("patch", "qwen2.gguf", "plain.gguf", "--layers", "0..7,6")
    assert "multiplied" not in surgeon("card", "plain.gguf").stdout


@pytest.mark.slow
def test_figures_are_the_measured_ones(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    (tmp_path / "prose.txt").write_bytes(shakespeare())
    surgeon("patch", stories, "rys.gguf", *WINDOW)
    measure = ("perplexity", "rys.gguf", "-f", "prose.txt", *SHORT)
    along = ("perplexity", stories, "-f", "prose.txt", *SHORT, *WINDOW)
    for name, command in {"file.json": (*measure, "--base", stories), "path.json": along}.items():
        (tmp_path / name).write_text(surgeon(*command).stdout)
    found = json.loads((tmp_path / "file.json").read_text())
    kl = found["divergence"]["kl"]["mean"]
    cards = [surgeon("card", "rys.gguf", "--measured", name) for name in ("file.json", "path.json")]
    assert cards[0].stdout == cards[1].stdout, "a routed path computes what the file does"
    value, error = found["perplexity"], found["perplexity_error"]
    for row in (
        f"| perplexity of this model | {value:.4f} | {error:.4f} |",
        f"| perplexity of its original | {found['base']['perplexity']:.4f} |",
        f"nats per token | {kl['value']:.5f} | {kl['error']:.5f} |",
        "On the text prose.txt ",
    ):
        assert row in cards[0].stdout
    both = surgeon("card", "rys.gguf", "--measured", "file.json", "--measured", "path.json")
    assert both.stdout.count("| perplexity of this model |") == 2
    other = surgeon(*measure[:1], stories, *measure[2:], "--drop", "1:2")
    (tmp_path / "other.json").write_text(other.stdout)
    with Unchanged(tmp_path):
        assert_told(surgeon("card", "rys.gguf", "--measured", "other.json"), 4, "another model")


def test_what_is_wrong_is_told(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    surgeon("patch", stories, "rys.gguf", *WINDOW)
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "plan.json").write_text(surgeon("plan", stories, *WINDOW, "--json").stdout)
    card = ("card", "rys.gguf")
    with Unchanged(tmp_path):
        assert_told(surgeon(*card, "--measured", "plan.json"), 2, "plan.json is no whole result")
        assert_told(surgeon(*card, "--measured", "empty.json"), 2, "it has no 'text'")
        assert_told(surgeon(*card, "--measured", "list.json"), 2, "of another kind")
        assert_told(surgeon(*card, "--measured", "missing.json"), 2, "missing.json")
        assert_told(surgeon(*card, "--measured", "rys.gguf"), 2, "is no whole result")
        assert_told(surgeon(*card, "--base-model", "Qwen2"), 2, "expected ORG/NAME")
        assert_told(surgeon(*card, "--modelfile", "--base-model", "a/b"), 2, "takes neither")
        assert_told(surgeon("card", stories), 4, "records no patch")


def test_hostile_strings_change_nothing_but_the_text(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    (tmp_path / "hostile.gguf").write_bytes(hostile_model(stories))
    assert surgeon("patch", "hostile.gguf", "evil.gguf", *WINDOW).returncode == 0
    surgeon("patch", stories, "good.gguf", *WINDOW)
    evil, good = (surgeon("card", name).stdout for name in ("evil.gguf", "good.gguf"))
    plain = good.replace("llama-completion -m good.gguf -p 'Once upon a time'\n", "")
    assert outline(evil) == outline(plain)
    assert evil.split("\n---\n")[0] == good.split("\n---\n")[0]
    assert not any(c for c in evil if not c.isprintable() and c != "\n")


def test_a_card_says_what_strengths_need(surgeon: Run, stories: Path) -> None:
    surgeon("patch", stories, "half.gguf", *WINDOW, "--strength", "0.5")
    assert "from before March 2026 refuse the file" in surgeon("card", "half.gguf").stdout
    surgeon("patch", stories, "whole.gguf", *WINDOW)
    assert "March 2026" not in surgeon("card", "whole.gguf").stdout


def test_a_modelfile_is_for_this_file(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    surgeon("patch", stories, "rys.gguf", *WINDOW)
    done = surgeon("card", "rys.gguf", "--modelfile")
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_modelfile(done.stdout) == [("from", "./rys.gguf")]
    (tmp_path / "rys.gguf").rename(tmp_path / "a\nSYSTEM evil.gguf")
    assert_told(surgeon("card", "a\nSYSTEM evil.gguf", "--modelfile"), 4, "no Modelfile can")
    surgeon("patch", stories, "shard.gguf", *WINDOW, "--split-max-size", "1M")
    shard = "shard-00001-of-00002.gguf"
    assert_told(surgeon("card", shard, "--modelfile"), 4, "a Modelfile names one file")
    card = surgeon("card", shard).stdout
    assert "Ollama" not in card and "bytes, in 2 shards |" in card


def test_json_has_the_card_and_its_parts(surgeon: Run, stories: Path) -> None:
    surgeon("patch", stories, "rys.gguf", *WINDOW)
    found = json.loads(surgeon("card", "rys.gguf", "--json", "--base-model", "a/b").stdout)
    assert found["metadata"]["base_model"] == ["a/b"]
    assert found["card"] == surgeon("card", "rys.gguf", "--base-model", "a/b").stdout
    programs = [way["program"] for way in found["ways_to_run"]]
    assert programs == ["llama.cpp", "llama-cpp-python", "Ollama", "LM Studio"]
    made = json.loads(surgeon("card", "rys.gguf", "--modelfile", "--json").stdout)
    assert made["modelfile"] == f"FROM ./rys.gguf{os.linesep}"


def test_a_card_of_several_models(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    layers = ("--layers", "0..2,1:1..4*0.5", "--with", "second.gguf")
    assert "model card, and commands" in surgeon("patch", stories, "both.gguf", *layers).stdout
    bases = ("--base-model", "a/first", "--base-model", "b/second", "--base-model", "a/first")
    done = surgeon("card", "both.gguf", *bases)
    assert done.returncode == 0, done.stderr
    assert 'base_model:\n- "a/first"\n- "b/second"\nbase' in done.stdout
    for number, name in enumerate((stories, "second.gguf")):
        digest = json.loads(surgeon("inspect", name, "--json").stdout)["header_sha256"]
        assert re.search(rf"^\| model {number} \| .*`{digest}` \|$", done.stdout, re.MULTILINE)
    assert "| output norm and head | of model 1 |" in done.stdout
    (recipe,) = re.findall(r"^```text\n(.*?)^```", done.stdout, re.MULTILINE | re.DOTALL)
    assert recipe == surgeon("recipe", "both.gguf").stdout
    (tmp_path / "recipe.yml").write_text(recipe)
    further = ("--recipe", "recipe.yml", "--with", "model-1=second.gguf")
    rebuilt = surgeon("patch", stories, "again.gguf", *further)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "both.gguf").read_bytes()


def test_a_card_of_other_mtp_blocks(surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "whole.gguf").write_bytes(model(4, 1))
    (tmp_path / "donor.gguf").write_bytes(model(4, 2, fill=100))
    options = {"none: those of": ("--without-mtp",), "of another": ("--mtp-from", "donor.gguf")}
    for told, option in options.items():
        done = surgeon("patch", "whole.gguf", "new.gguf", *WINDOW, *option, "--replace")
        assert "model card, and commands" in done.stdout
        card = surgeon("card", "new.gguf")
        assert card.returncode == 0, card.stderr
        assert f"| MTP blocks | {told}" in card.stdout
        (recipe,) = re.findall(r"^```text\n(.*?)^```", card.stdout, re.MULTILINE | re.DOTALL)
        (tmp_path / "recipe.yml").write_text(recipe)
        further = ("--with", "mtp-donor=donor.gguf") if "donor.gguf" in option else ()
        made = ("patch", "whole.gguf", "again.gguf", "--replace", "--recipe", "recipe.yml")
        rebuilt = surgeon(*made, *further)
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "new.gguf").read_bytes()


def with_license(source: Path, destination: Path, license_text: str, *more: KeyValue) -> None:
    """A copy of a model with a licence and an author in its metadata."""
    texts = {"general.license": license_text, "general.author": f"author of {license_text}"}
    pairs = [string_pair(key, text) for key, text in texts.items() if text]
    destination.write_bytes(source.read_bytes())
    with_pairs(destination, lambda given: (*given, *pairs, *more))


def string_pair(key: str, text: str) -> KeyValue:
    """A pair of metadata with a string."""
    kind = ValueType.STRING
    return make_pair(key, kind, encode_value(kind, text, "<"), "<")


def test_licences_that_differ_are_not_those_of_the_whole(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    licenses = {"a.gguf": "mit", "b.gguf": "cc-by-nc-4.0", "c.gguf": "mit", "none.gguf": ""}
    for name, text in licenses.items():
        with_license(stories, tmp_path / name, text)
    path = ("--layers", "0..2,1:1..4", "--with")
    mixed = surgeon("patch", "a.gguf", "ab.gguf", *path, "b.gguf")
    assert mixed.returncode == 0, mixed.stderr
    said = " ".join(mixed.stdout.split())
    assert "name different licences: 'mit' of a.gguf, 'cc-by-nc-4.0' of b.gguf" in said
    assert "which is not that of b.gguf: general.author" in said
    card = surgeon("card", "ab.gguf").stdout
    front, body = card.split("\n---\n", 1)
    assert "license" not in front
    assert "| licence of model 0 | mit |\n| licence of model 1 | cc-by-nc-4.0 |" in body
    assert "The models have different licences" in body
    surgeon("patch", "a.gguf", "an.gguf", *path, "none.gguf")
    none = surgeon("card", "an.gguf").stdout
    assert "license" not in none.split("\n---\n", 1)[0]
    assert "| licence of model 1 | none is named |" in none
    same = surgeon("patch", "a.gguf", "ac.gguf", *path, "c.gguf")
    assert "licence" not in same.stdout and "origin" not in same.stdout
    assert 'license: "mit"' in surgeon("card", "ac.gguf").stdout
    assert "| licence of all models | mit |" in surgeon("card", "ac.gguf").stdout
    verified = surgeon("verify", "ab.gguf", "--source", "a.gguf", "--with", "b.gguf", "--json")
    checks = {check["name"]: check["ok"] for check in json.loads(verified.stdout)["checks"]}
    assert checks["metadata"] and checks["source"]


def test_each_model_needs_a_base_model(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    url = string_pair("general.source.repo_url", "https://huggingface.co/a/first")
    with_license(stories, tmp_path / "a.gguf", "mit", url)
    surgeon("patch", "a.gguf", "one.gguf", *WINDOW)
    surgeon("patch", "a.gguf", "two.gguf", "--layers", "0..2,1:1..4", "--with", stories)
    bases = ("--base-model", "a/first", "--base-model", "b/second", "--base-model", "c/third")
    assert "--base-model" not in surgeon("card", "one.gguf").stderr
    assert "for each of them" in surgeon("card", "two.gguf").stderr
    assert "1 --base-model for a file of 2" in surgeon("card", "two.gguf", *bases[:2]).stderr
    assert "--base-model" not in surgeon("card", "two.gguf", *bases[:4]).stderr
    assert "3 --base-model for a file of 2" in surgeon("card", "two.gguf", *bases).stderr
    assert "2 --base-model for a file of one" in surgeon("card", "one.gguf", *bases[:4]).stderr


def test_a_given_name_is_in_the_recipe_of_several(
    surgeon: Run, stories: Path, tmp_path: Path
) -> None:
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    (tmp_path / "own.yml").write_text(
        "name: Duet 1.0\nlayers: a:0..2, b:1..4\nsources:\n  a:\n  b:\n"
    )
    surgeon("patch", stories, "duet.gguf", "--recipe", "own.yml", "--with", "b=second.gguf")
    assert 'name: "Duet 1.0"\n' in surgeon("card", "duet.gguf").stdout


@pytest.mark.slow
def test_figures_against_one_of_several_models(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    (tmp_path / "prose.txt").write_bytes(shakespeare())
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    surgeon("patch", stories, "both.gguf", "--layers", "0..2,1:1..4", "--with", "second.gguf")
    for name, base in {"second.json": "second.gguf", "other.json": "both.gguf"}.items():
        measure = ("perplexity", "both.gguf", "--base", base, "-f", "prose.txt", *SHORT)
        (tmp_path / name).write_text(surgeon(*measure).stdout)
    assert (
        "| perplexity of model 1 |"
        in surgeon("card", "both.gguf", "--measured", "second.json").stdout
    )
    other = surgeon("perplexity", stories, "-f", "prose.txt", *SHORT)
    (tmp_path / "first.json").write_text(other.stdout)
    assert_told(surgeon("card", "both.gguf", "--measured", "first.json"), 4, "another model")


@pytest.mark.parametrize(("old", "new"), [(b"0,1,0", b"0,7,0"), (b"0..2,1:1", b"0..2,9:1")])
def test_a_damaged_record_of_several_models_is_told(
    surgeon: Run, stories: Path, tmp_path: Path, old: bytes, new: bytes
) -> None:
    surgeon("patch", stories, "second.gguf", "--layers", "4,2,3,0,1")
    surgeon("patch", stories, "both.gguf", "--layers", "0..2,1:1..4", "--with", "second.gguf")
    content = (tmp_path / "both.gguf").read_bytes()
    (tmp_path / "evil.gguf").write_bytes(content.replace(old, new))
    for command in (("card",), ("recipe",), ("recipe", "--as", "mergekit")):
        told = surgeon(*command, "evil.gguf")
        assert_told(told, 4, "the record of the patch is damaged")
