"""Every command takes a model in shards, given by any of them, as if it were one file."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.rules.whole_models.reader_limits import READERS_OF_SHARDS
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.cli.failing import Unchanged, assert_told
from tests.cli.test_golden import normalised
from tests.conftest import ROOT, Run
from tests.models.expanding import expand_named
from tests.models.sharding import cut_evenly, with_alignment
from tests.serving.server import running_server

SECOND = "model-00002-of-00003.gguf"
WINDOW = ("--window", "1:3")
TEXT = ("--text", "prose.txt", "--ctx", "64", "--chunks", "4")


@pytest.fixture
def shards(stories: Path, tmp_path: Path) -> list[Path]:
    shutil.copy(stories, tmp_path / "whole.gguf")
    (tmp_path / "prose.txt").write_bytes(shakespeare())
    shutil.copy(ROOT / "fixtures/tasks/choices.jsonl", tmp_path)
    return cut_evenly(stories, tmp_path / "model")


def same(surgeon: Run, command: str, *options: str) -> Any:
    """What a command finds of the file, and of the shards.

    Mapped files take memory from their first to their last tensor, so that differs a little.
    """
    done = [surgeon(command, model, *options, "--json") for model in ("whole.gguf", SECOND)]
    assert [each.returncode for each in done] == [0, 0], done[1].stderr
    told = [each.stdout.replace(SECOND, "whole.gguf") for each in done]
    whole, of_shards = (without_devices(normalised(json.loads(each))) for each in told)
    assert of_shards == whole
    return of_shards


def without_devices(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_devices(each) for key, each in value.items() if key != "devices"}
    return [without_devices(each) for each in value] if isinstance(value, list) else value


def test_inspect(shards: list[Path], surgeon: Run) -> None:
    done = surgeon("inspect", SECOND)
    assert "3 files, from model-00001-of-00003.gguf on" in done.stdout
    assert f"({sum(path.stat().st_size for path in shards):,} bytes)" in done.stdout
    told = json.loads(surgeon("inspect", SECOND, "--json").stdout)
    alone = json.loads(surgeon("inspect", "whole.gguf", "--json").stdout)
    assert (told.pop("n_shards"), alone.pop("n_shards")) == (3, 0)
    assert told.pop("n_bytes") > alone.pop("n_bytes")
    assert told == alone


def test_plan(shards: list[Path], surgeon: Run) -> None:
    told, alone = (
        json.loads(surgeon("plan", model, *WINDOW, "--json").stdout)
        for model in (SECOND, "whole.gguf")
    )
    assert [source["path"] for source in told["write_plan"]["sources"]] == [p.name for p in shards]
    recorded = told["changes"].keys() - alone["changes"].keys()
    assert len(recorded) == 4 and all("source_shards" in key for key in recorded)
    assert told["memory"] == alone["memory"]


@pytest.mark.slow
def test_what_a_model_says_and_how_well(shards: list[Path], surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    say = ("--tokens", "16", "--prompt", "Once upon a time")
    assert same(surgeon, "generate", *WINDOW, *say)["n_tokens"] == 16
    same(surgeon, "perplexity", *WINDOW, *TEXT)
    same(surgeon, "choose", *WINDOW, "--tasks", "choices.jsonl", "--limit", "2")


@pytest.mark.slow
def test_chat(shards: list[Path], surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    chat = ("--chat-format", "chatml", "--ctx", "512", "--temperature", "0", "--tokens", "16")
    whole, of_shards = (
        surgeon("chat", model, *WINDOW, *chat, input="Hello\n") for model in ("whole.gguf", SECOND)
    )
    assert of_shards.stdout == whole.stdout != ""


@pytest.mark.slow
def test_a_store_knows_the_model_whether_in_shards_or_not(shards: list[Path], surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    scan = ("--arithmetic", "12", "--layers", "0..2", "--store", "scan.db")
    first = surgeon("scan", "whole.gguf", *scan)
    again = surgeon("scan", SECOND, *scan, "--hash")
    assert first.returncode == again.returncode == 0, again.stderr
    assert "0 passes" in again.stdout + again.stderr
    done = surgeon("patch", SECOND, "new.gguf", "--from-scan", "scan.db", "--rank", "1")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_verify(shards: list[Path], surgeon: Run) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    assert surgeon("patch", SECOND, "new.gguf", *WINDOW).returncode == 0
    done = surgeon("verify", "new.gguf", "--source", "model-00003-of-00003.gguf", "--json")
    told = json.loads(done.stdout)
    assert told["ok"] and told["unproven"] == []
    assert "aliased logits of 128 tokens equal to the bit" in told["proven"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3moe-moe", "gemma-dense"])
def test_other_architectures_are_proven_too(name: str, tmp_path: Path, surgeon: Run) -> None:
    """With an alignment that the shards behind the first do not have."""
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    whole = with_alignment(expand_named(name, tmp_path / "a.gguf"), tmp_path / "b.gguf", 64)
    cut_evenly(whole, tmp_path / "model")
    assert surgeon("patch", SECOND, "new.gguf", *WINDOW).returncode == 0
    told = json.loads(surgeon("verify", "new.gguf", "--source", SECOND, "--json").stdout)
    assert told["ok"]
    assert [check["ok"] for check in told["checks"] if "=" in check["name"]] == [True, True]


@pytest.mark.slow
def test_serve(shards: list[Path]) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    pytest.importorskip("uvicorn", reason="needs the serve extra")
    with running_server(shards[1], "--model", "longer=0..2,1..4") as server:
        client = server.client()
        assert [model.id for model in client.models.list()] == ["model", "longer"]
        done = client.completions.create(model="longer", prompt="Once", max_tokens=4)
        assert done.choices[0].text


def test_a_shard_that_is_missing(shards: list[Path], tmp_path: Path, surgeon: Run) -> None:
    shards[2].unlink()
    with Unchanged(tmp_path):
        done = surgeon("patch", SECOND, "new.gguf", *WINDOW)
    assert_told(done, 2, "model-00003-of-00003.gguf is missing: shard 3 of the 3 shards")


def test_output_in_shards(stories: Path, tmp_path: Path, surgeon: Run) -> None:
    done = surgeon("patch", stories, "new.gguf", *WINDOW, "--split-max-size", "1M")
    assert done.returncode == 0, done.stderr
    wrote = "wrote new-00001-of-00002.gguf to new-00002-of-00002.gguf; prove it: ggufsurgeon verify"
    assert f"{wrote} new-00001-of-00002.gguf --source" in done.stdout
    names = ["new-00001-of-00002.gguf", "new-00002-of-00002.gguf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    told = surgeon("plan", stories, *WINDOW, "--split-max-size", "1M")
    sizes = [(tmp_path / name).stat().st_size for name in names]
    assert f"in 2 shards, the largest of {max(sizes) / 1000:.2f} kB" in told.stdout
    assert READERS_OF_SHARDS in " ".join(told.stdout.split())
    assert READERS_OF_SHARDS not in " ".join(surgeon("plan", stories, *WINDOW).stdout.split())
    as_json = surgeon("plan", stories, *WINDOW, "--split-max-size", "1M", "--json").stdout
    assert json.loads(as_json)["n_bytes_of_files"] == sizes
    assert json.loads(as_json)["notes"] == [READERS_OF_SHARDS]
    again = surgeon("patch", names[1], "again.gguf", *WINDOW, "--split-max-size", "1M", "--json")
    written = json.loads(again.stdout)
    assert written["destination"] == written["files"][0] == "again-00001-of-00002.gguf"
    whole = surgeon("patch", stories, "whole.gguf", *WINDOW, "--split-max-size", "1G")
    assert "wrote whole.gguf; prove it" in whole.stdout
    with Unchanged(tmp_path):
        exists = surgeon("patch", stories, "new.gguf", *WINDOW, "--split-max-size", "1M")
    assert_told(exists, 4, "new-00001-of-00002.gguf exists")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--split-max-size", "40"], 2, "'40': expected a number of megabytes or gigabytes"),
        (["--split-max-size", "0G"], 2, "expected a number"),
        (["--split-max-size", "1.5G"], 2, "expected a number"),
        (["--split-max-size", "1M", "--replace"], 2, "exclude each other"),
    ],
)
def test_sizes_that_are_none(
    stories: Path, tmp_path: Path, surgeon: Run, options: list[str], code: int, says: str
) -> None:
    with Unchanged(tmp_path):
        assert_told(surgeon("patch", stories, "new.gguf", *WINDOW, *options), code, says)


def test_diff(shards: list[Path], stories: Path, surgeon: Run) -> None:
    """Beside the file that they were cut from, nothing differs but what names shards."""
    assert surgeon("diff", shards[1], shards[0]).returncode == 0
    told = json.loads(surgeon("diff", stories, shards[0], "--json").stdout)
    assert told["layer_path"] in ("0..4", None) and not told["tensors"], told


def test_the_very_shards_come_back_and_recipes_rebuild_others(
    shards: list[Path], tmp_path: Path, surgeon: Run
) -> None:
    assert surgeon("patch", SECOND, "once.gguf", *WINDOW).returncode == 0
    done = surgeon("patch", "once.gguf", "two.gguf", *WINDOW, "--split-max-size", "1M")
    assert done.returncode == 0, done.stderr
    names = ["two-00001-of-00002.gguf", "two-00002-of-00002.gguf"]
    done = surgeon("restore", names[1], "back.gguf")
    assert done.stdout == (
        "wrote back-00001-of-00003.gguf to back-00003-of-00003.gguf: the original, 1.19 MB; "
        "undone: layer path 0..2,1..6, then 0..2,1..4\n"
    )
    back = sorted(tmp_path.glob("back*"))
    assert [path.read_bytes() for path in back] == [path.read_bytes() for path in shards]
    told = json.loads(surgeon("restore", "once.gguf", "json.gguf", "--json").stdout)
    assert told["files"] == [path.name.replace("back", "json") for path in back]
    assert told["destination"] == told["files"][0]
    assert told["n_bytes"]["after"] == sum(path.stat().st_size for path in shards)
    with Unchanged(tmp_path):
        exists = surgeon("restore", names[0], "back.gguf", "--replace")
        assert_told(exists, 4, "back-00001-of-00003.gguf exists")
    recipe = surgeon("recipe", names[0]).stdout
    assert "patch ORIGINAL-00001-of-00003.gguf NEW.gguf" in recipe
    (tmp_path / "recipe.txt").write_text(recipe)
    done = surgeon("patch", SECOND, "again.gguf", "--recipe", "recipe.txt")
    wrote = "wrote again-00001-of-00002.gguf to again-00002-of-00002.gguf: their SHA-256 are those"
    assert wrote in done.stdout
    for name in names:
        again = (tmp_path / name.replace("two", "again")).read_bytes()
        assert again == (tmp_path / name).read_bytes()
    with Unchanged(tmp_path):
        told = surgeon("patch", "whole.gguf", "new.gguf", "--recipe", "recipe.txt")
        assert_told(told, 4, "it is one file, and the original is in 3 shards")
        both = surgeon(
            "patch", SECOND, "x.gguf", "--recipe", "recipe.txt", "--split-max-size", "1M"
        )
        assert_told(both, 2, "--recipe and --split-max-size exclude each other")


def test_hashes(shards: list[Path], stories: Path, surgeon: Run) -> None:
    """Of each shard, to compare with what its publisher names, and of what they make joined."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (*shards, stories)]
    told = surgeon("inspect", SECOND, "--hash").stdout.splitlines()[-4:]
    names = [*(path.name for path in shards), "the joined shards"]
    assert told == [f"SHA-256 of {n}: {d}" for n, d in zip(names, digests, strict=True)]
    as_json = json.loads(surgeon("inspect", SECOND, "--hash", "--json").stdout)
    assert [shard["sha256"] for shard in as_json["shards"]] == digests[:3]
    assert [shard["file"] for shard in as_json["shards"]] == names[:3]
    assert as_json["sha256"] == digests[3]
