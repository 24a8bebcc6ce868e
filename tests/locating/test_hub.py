"""Models on the hub: what is read of them, what is downloaded, and that both equal the file."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

from tests.locating.conftest import Named
from tests.locating.hub_server import COMMIT, REPO, Faults, hub_with
from tests.locating.large_models import large_model
from tests.models.sharding import cut_evenly

NAME = f"hf://{REPO}/model.gguf"
WINDOW = ("--window", "1:3")


def downloads(home: Path) -> list[Path]:
    """What is in the cache, without its folders."""
    return [path for path in (home / ".cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("n_tokens", [100, 300_000])
@pytest.mark.parametrize("command", [("inspect",), ("plan", *WINDOW)])
def test_only_the_header_is_read(
    named: Named, home: Path, tmp_path: Path, n_tokens: int, command: tuple[str, ...]
) -> None:
    model = large_model(tmp_path / "model.gguf", n_tokens)
    what, *options = command
    with hub_with({"model.gguf": model}) as hub:
        done = named(what, NAME, *options, "--json", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    fetched = told.pop("fetched")
    assert fetched == {"commit": COMMIT, "n_bytes": sum(hub.sent)}
    header_n_bytes = 18 * n_tokens + 2000
    assert sum(hub.sent) < 2 * header_n_bytes + (2 << 20) < model.stat().st_size / 4
    assert all(request["range"] for request in hub.asked if request["method"] == "GET"), hub.asked
    assert all(COMMIT in request["path"] for request in hub.asked if request["range"])
    assert not downloads(home)
    local = json.loads(named(what, model, *options, "--json").stdout)
    assert local.pop("fetched") is None
    for source in told.get("write_plan", {}).get("sources", []):
        assert source.pop("path") == NAME
    for source in local.get("write_plan", {}).get("sources", []):
        source.pop("path")
    if what == "plan":
        assert told.pop("source") == NAME
        local.pop("source")
        local.pop("in_place"), told.pop("in_place")
        local["notes"] = [note for note in local["notes"] if "zeros" not in note]
    assert told == local


def test_a_server_that_ignores_ranges_is_read_no_further_than_a_header(
    named: Named, tmp_path: Path
) -> None:
    model = large_model(tmp_path / "model.gguf", 100_000)
    with hub_with({"model.gguf": model}, Faults(ignores_ranges=True)) as hub:
        done = named("inspect", NAME, "--json", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    n_bytes = json.loads(done.stdout)["fetched"]["n_bytes"]
    assert 1_800_000 < n_bytes < 1_800_000 + (2 << 20)
    assert len(hub.sent) == 1  # and what fills the buffers of two sockets
    assert n_bytes <= hub.sent[0] < n_bytes + (16 << 20) < model.stat().st_size / 2


def test_a_person_is_told_what_was_read(named: Named, tmp_path: Path) -> None:
    model = large_model(tmp_path / "model.gguf")
    with hub_with({"model.gguf": model}) as hub:
        done = named("inspect", NAME, HF_ENDPOINT=hub.url)
        planned = named("plan", NAME, *WINDOW, HF_ENDPOINT=hub.url)
    assert done.stdout.startswith(f"{NAME}\n")
    told = f"of commit {COMMIT}; the model was not downloaded"
    assert told in done.stdout and told in planned.stdout
    assert "the model may be edited" not in planned.stdout


def test_patch_downloads_into_the_cache_and_equals_the_patch_of_the_file(
    named: Named, home: Path, tmp_path: Path, stories: Path
) -> None:
    with hub_with({"sub/model.gguf": stories}) as hub:
        done = named(
            "patch", f"hf://{REPO}/sub/model.gguf", "new.gguf", *WINDOW, HF_ENDPOINT=hub.url
        )
        assert done.returncode == 0, done.stderr
        assert f"--source hf://{REPO}/sub/model.gguf" in done.stdout
        proof = named(
            *("verify", "new.gguf", "--source", f"hf://{REPO}/sub/model.gguf", "--threads", "1"),
            HF_ENDPOINT="http://127.0.0.1:9",
        )
    assert proof.returncode == 0, proof.stderr
    named("patch", stories, "same.gguf", *WINDOW)
    assert filecmp.cmp(tmp_path / "new.gguf", tmp_path / "same.gguf", shallow=False)
    cached = home / ".cache/huggingface/hub" / f"models--{REPO.replace('/', '--')}"
    assert filecmp.cmp(cached / "snapshots" / COMMIT / "sub/model.gguf", stories, shallow=False)


def test_a_cached_file_needs_neither_network_nor_package(
    named: Named, tmp_path: Path, stories: Path
) -> None:
    with hub_with({"model.gguf": stories}) as hub:
        assert named("patch", NAME, "a.gguf", *WINDOW, HF_ENDPOINT=hub.url).returncode == 0
        n_asked = len(hub.asked)
        done = named("inspect", NAME, "--json", HF_ENDPOINT=hub.url)
        at_commit = named("inspect", f"hf://{REPO}@{COMMIT}/model.gguf", HF_ENDPOINT=hub.url)
        assert len(hub.asked) == n_asked
    assert done.returncode == at_commit.returncode == 0
    assert json.loads(done.stdout)["fetched"] is None
    absent = tmp_path / "absent/huggingface_hub"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('it is not installed')")
    hidden = {"PYTHONPATH": f"{absent.parent}:{Path.cwd()}"}
    assert named("patch", NAME, "b.gguf", *WINDOW, **hidden).returncode == 0
    missing = named("inspect", f"hf://{REPO}/other.gguf", **hidden)
    assert missing.returncode == 8
    assert "pip install 'ggufsurgeon[hub]'" in missing.stderr


def test_shards_are_read_and_downloaded_together(
    named: Named, tmp_path: Path, stories: Path
) -> None:
    shards = {path.name: path for path in cut_evenly(stories, tmp_path / "whole")}
    second = f"hf://{REPO}/{list(shards)[1]}"
    with hub_with(shards) as hub:
        told = named("inspect", second, "--json", HF_ENDPOINT=hub.url)
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["n_shards"] == 3
        done = named("patch", second, "new.gguf", *WINDOW, HF_ENDPOINT=hub.url)
        assert done.returncode == 0, done.stderr
    named("patch", tmp_path / next(iter(shards)), "same.gguf", *WINDOW)
    assert filecmp.cmp(tmp_path / "new.gguf", tmp_path / "same.gguf", shallow=False)


def test_a_model_runs_by_its_name(named: Named, tmp_path: Path, stories: Path) -> None:
    with hub_with({"model.gguf": stories}) as hub:
        words = ("--prompt", "Once upon a time", "--tokens", "4", "--threads", "1", "--json")
        done = named("generate", NAME, *words, *WINDOW, HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    same = named("generate", stories, *words, *WINDOW)
    assert json.loads(done.stdout)["text"] == json.loads(same.stdout)["text"]


def test_a_further_model_has_a_name_too(named: Named, tmp_path: Path, stories: Path) -> None:
    layers = ("--layers", "0..2,1:2..4")
    with hub_with({"model.gguf": stories}) as hub:
        done = named("patch", stories, "new.gguf", *layers, "--with", NAME, HF_ENDPOINT=hub.url)
        assert done.returncode == 0, done.stderr
        assert f"--source {stories} --with {NAME}\n" in done.stdout
        words = ("--prompt", "Once upon", "--tokens", "4", "--threads", "1", "--json")
        text = named("generate", stories, *words, *layers, "--with", NAME, HF_ENDPOINT=hub.url)
    assert text.returncode == 0, text.stderr
    (tmp_path / "other.gguf").write_bytes(stories.read_bytes())
    same = named("patch", stories, "same.gguf", *layers, "--with", "other.gguf")
    assert same.returncode == 0, same.stderr
    assert filecmp.cmp(tmp_path / "new.gguf", tmp_path / "same.gguf", shallow=False)


def test_a_broken_connection_is_resumed(named: Named, tmp_path: Path) -> None:
    """Where huggingface_hub has whole pieces of 10 MiB."""
    model = large_model(tmp_path / "model.gguf")
    with hub_with({"model.gguf": model}, Faults(cut_after=35 << 20)) as hub:
        done = named("diff", NAME, model, HF_ENDPOINT=hub.url)
        resumed = [request["range"] for request in hub.asked if request["range"]]
    assert done.returncode == 0, done.stderr
    assert resumed == [f"bytes={30 << 20}-"]
    assert sum(hub.sent) == model.stat().st_size + (5 << 20)


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(
    named: Named, tmp_path: Path, stories: Path
) -> None:
    with (
        hub_with({"model.gguf": stories}) as store,
        hub_with({"model.gguf": stories}, Faults(token="hf_secret")) as hub,
    ):
        hub.faults.elsewhere = store.url.replace("127.0.0.1", "localhost")
        env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
        assert named("inspect", NAME, **env).returncode == 0
        assert named("patch", NAME, "new.gguf", *WINDOW, **env).returncode == 0
    assert {request["token"] for request in hub.asked} == {"Bearer hf_secret"}
    assert store.asked and {request["token"] for request in store.asked} == {""}
