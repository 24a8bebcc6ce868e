"""`anatomy` as a user sees it: figures, verdicts, the page, and what cannot be done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import children, started
from tests.models.builders import string
from tests.models.expanding import expand_named
from tests.reporting.markup import Page

SMALL = ("--contents", "5", "--threads", "1")
SCAN = ("--store", "scan.db", "--arithmetic", "16", "--threads", "1")
PAIRS = [
    {"clean": "Tom sat. He", "corrupt": "Ann sat. He", "answer": " was", "other": " a"},
    {"clean": "Lily", "corrupt": "Lily Lily", "answer": " was", "other": " a"},
    {"clean": "Once upon a", "corrupt": "Once upon a", "answer": " time", "other": " dog"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    return "pairs.jsonl"


def test_an_anatomy_without_a_scan(stories: Path, surgeon: Run) -> None:
    done = surgeon("anatomy", stories, *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stories260K.gguf, llama, read with 5 contents" in done.stdout
    assert "dropped, contents" in done.stdout and "Activation patching:" in done.stdout
    assert "is not known: no scan of windows is given" in done.stdout


def test_json_has_everything(stories: Path, surgeon: Run, pairs: str) -> None:
    found = json.loads(surgeon("anatomy", stories, *SMALL, "--pairs", pairs, "--json").stdout)
    assert (found["schema"], found["n_blocks"], len(found["contents"])) == (1, 5, 5)
    assert len(found["blocks"]) == len(found["lens"]) == 5
    assert found["lens"][-1]["median_rank"] == found["lens"][-1]["share_first"] == 1
    assert all(len(found["similarity"]["same"][part]) == 6 for part in ("values", "low", "high"))
    (probe,) = found["scan"]["probes"]
    assert probe["probe"] == "contents" and not found["is_scan_from_store"]
    assert {path["kind"] for path in probe["paths"]} == {"drop"} and len(probe["paths"]) == 5
    problems = [each["problem"] for each in found["patching"]]
    assert problems[1] == "the clean prompt has 2 tokens and the corrupt one 3"
    assert problems[2] == "both prompts have the same tokens"


def test_a_page_with_the_maps_of_a_scan(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    assert surgeon("scan", stories, *SCAN).returncode == 0
    arguments = ("anatomy", stories, *SMALL, "--store", "scan.db", "--html", "page.html")
    done = surgeon(*arguments, "--json")
    assert done.returncode == 0 and "wrote page.html" in done.stderr
    found = json.loads(done.stdout)
    (prediction,) = found["predictions"]
    assert prediction["probe"] == "arithmetic" and prediction["n_windows"] == 15
    assert prediction["n_placements"] == 10 and -1 <= prediction["correlation"] <= 1
    assert prediction["interval"][0] <= prediction["interval"][1]
    assert [probe["probe"] for probe in found["scan"]["probes"]] == ["arithmetic", "contents"]
    assert any("probe arithmetic?" in verdict for verdict in found["verdicts"])
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert len([each for each in page.all("section")]) >= 4
    assert any("plot" in each.classes for each in page.elements)
    again = surgeon(*arguments)
    assert again.returncode == 4 and "page.html" in again.stderr
    assert surgeon(*arguments, "--replace").returncode == 0


def test_the_command_of_a_page_can_be_pasted(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"odd \xff.gguf")
    shutil.copy(stories, tmp_path / name)
    done = surgeon("anatomy", name, *SMALL, "--html", "page.html")
    assert done.returncode == 0, done.stderr
    command = "ggufsurgeon anatomy $&#x27;odd \\377.gguf&#x27; --contents 5 --html page.html"
    assert command in (tmp_path / "page.html").read_text("utf-8")


def test_a_store_of_another_model(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    assert surgeon("scan", stories, *SCAN, "--windows", "0..1:1").returncode == 0
    assert surgeon("patch", stories, "other.gguf", "--window", "1:2").returncode == 0
    done = surgeon("anatomy", "other.gguf", *SMALL, "--store", "scan.db")
    assert_told(done, 2, "it has scans of stories260K.gguf with other headers, and none of other")
    done = surgeon("anatomy", stories, *SMALL, "--store", "absent.db")
    assert_told(done, 2, "there is no such store")


def test_models_that_read_no_text(surgeon: Run, tmp_path: Path) -> None:
    expand_named("chameleon-dense", tmp_path / "silent.gguf")
    done = surgeon("anatomy", "silent.gguf", *SMALL)
    assert_told(done, 2, "it has no tokenizer, so it cannot read texts")


def test_an_encoder_has_bands_and_influence(surgeon: Run, tmp_path: Path) -> None:
    expand_named("eurobert-dense", tmp_path / "encoder.gguf")
    done = surgeon("anatomy", "encoder.gguf", *SMALL, "--json", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["blocks"]) == 8 and found["similarity"]["p_value"] > 0
    assert found["lens"] == found["patching"] == [] and found["scan"] is None
    assert any(
        "No logit lens, no ablation and no patching: it is an encoder" in note
        for note in found["notes"]
    )
    page = Page((tmp_path / "page.html").read_text("utf-8"))
    assert not page.all("script")
    assert any("script-src 'none'" in each.attributes.get("content", "") for each in page.elements)


def test_a_recurrent_model_is_read_like_others(surgeon: Run, tmp_path: Path) -> None:
    expand_named("mamba-dense", tmp_path / "mamba.gguf")
    found = json.loads(surgeon("anatomy", "mamba.gguf", *SMALL, "--json").stdout)
    assert len(found["blocks"]) == len(found["lens"]) == found["n_blocks"] == 8
    (probe,) = found["scan"]["probes"]
    assert len(probe["paths"]) == 8 and all(path["search"] for path in probe["paths"])


def test_a_context_that_is_too_short(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    data = stories.read_bytes()
    key = string("llama.context_length") + (4).to_bytes(4, "little")
    assert data.count(key + (2048).to_bytes(4, "little")) == 1
    short = data.replace(key + (2048).to_bytes(4, "little"), key + (32).to_bytes(4, "little"))
    (tmp_path / "short.gguf").write_bytes(short)
    done = surgeon("anatomy", "short.gguf", *SMALL)
    assert_told(done, 2, "0 of 5 contents fit its context of 32 tokens, and 4 are needed")


def test_a_file_of_pairs_that_is_none(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"clean": "a"}')
    done = surgeon("anatomy", stories, *SMALL, "--pairs", "pairs.jsonl")
    assert_told(done, 2, "pairs.jsonl, line 1: expected a JSON object with the non-empty strings")


def test_an_interrupted_anatomy_leaves_nothing(stories: Path, tmp_path: Path) -> None:
    program = (sys.executable, "-m", "ggufsurgeon", "anatomy", stories)
    with started(
        [*program, "--contents", "24", "--threads", "1", "--html", "page.html"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        while not children(process.pid):  # the worker, in which the model runs
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT and "interrupted by SIGINT" in errors
    assert not (tmp_path / "page.html").exists()
