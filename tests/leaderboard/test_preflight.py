"""What is missing on a machine is said in one error, before a model is loaded and in good time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.hub import hub_that_answers, hub_with
from tests.leaderboard.mirrors import write_mirror

pytestmark = pytest.mark.slow
NOBODY = "http://127.0.0.1:9"  # the port that discards, where nobody listens
CODE = """
import json, os, sys
from pathlib import Path
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.requests import request_sha256
from ggufsurgeon.leaderboard.harness.loading import load_tasks
names, data = sys.argv[1].split(","), sys.argv[2:]
try:
    tasks = load_tasks(names, Path(data[0]) if data else None)
    found = {"exit_code": 0}
    if os.environ["collects"] == "yes":
        found["requests"] = [request_sha256(request) for request in collect(tasks)]
except GgufSurgeonError as error:
    found = {"exit_code": error.exit_code, "message": str(error), "hint": error.hint,
             "state": error.state}
print(json.dumps(found))
"""


def preflight(
    home: Path, *arguments: str | Path, collects: str = "", **variables: str
) -> dict[str, Any]:
    """Load tasks in a process of its own, whose only line of output is what came of it."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
        **{"HF_HOME": str(home / "huggingface"), "HF_ENDPOINT": NOBODY, "collects": collects},
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_mirror_needs_no_network(tmp_path: Path) -> None:
    write_mirror(tmp_path / "mirror")
    assert preflight(tmp_path, "ifeval,bbh", "mirror") == {"exit_code": 0}


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["unreached", "offline"])
def test_a_hub_that_is_not_reached_is_said(tmp_path: Path, variables: dict[str, str]) -> None:
    found = preflight(tmp_path, "bbh", **variables)
    assert found["exit_code"] == 2
    assert "SaylorTwift/bbh: the dataset of bbh is not in the cache" in found["message"]
    assert "mirror" in found["hint"]
    assert "Traceback" not in found["message"]


def test_datasets_come_from_the_hub_and_then_from_the_cache(tmp_path: Path) -> None:
    """Each file is fetched once; afterwards neither the hub nor HF_HUB_OFFLINE matters."""
    mirror = write_mirror(tmp_path / "mirror")
    expected = preflight(tmp_path, "gpqa,musr", mirror, collects="yes")
    assert expected["requests"]
    with hub_with(mirror) as hub:
        for _ in range(2):
            found = preflight(tmp_path, "gpqa,musr", collects="yes", HF_ENDPOINT=hub.url)
            assert found == expected
        fetched = [asked for asked in hub.asked if asked.startswith("GET /datasets/")]
    assert len(fetched) == len(set(fetched)) == 2 + 3 + 3  # READMEs and documents
    for variables in ({}, {"HF_HUB_OFFLINE": "1"}):
        began = time.monotonic()
        assert preflight(tmp_path, "gpqa,musr", collects="yes", **variables) == expected
        assert time.monotonic() - began < 60  # the hub's packages would wait for 23 s, four times


def test_a_gated_set_without_a_login_is_said(tmp_path: Path) -> None:
    with hub_that_answers(401, "GatedRepo") as hub:
        found = preflight(tmp_path, "gpqa", HF_ENDPOINT=hub.url)
    assert found["exit_code"] == 2
    assert "agreed to its terms" in found["message"]
    assert "huggingface.co/datasets/Idavidrein/gpqa" in found["hint"]


def test_a_dataset_that_is_gone_is_said(tmp_path: Path) -> None:
    with hub_that_answers(404, "RepoNotFound") as hub:
        found = preflight(tmp_path, "musr", HF_ENDPOINT=hub.url)
    assert found["exit_code"] == 2
    assert "TAUR-Lab/MuSR: the dataset of musr is not on the Hugging Face Hub" in found["message"]


def test_data_of_the_sentence_splitter_are_asked_for_first(tmp_path: Path) -> None:
    """The harness would fail when all texts are generated."""
    write_mirror(tmp_path / "mirror")
    nowhere = {"NLTK_DATA": str(tmp_path / "none"), "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    found = preflight(tmp_path, "ifeval", "mirror", **nowhere)
    assert found["exit_code"] == 8
    assert "punkt_tab" in found["message"] and "nltk.downloader punkt_tab" in found["hint"]
    assert preflight(tmp_path, "bbh", "mirror", **nowhere) == {"exit_code": 0}


@pytest.mark.parametrize("module", ["lm_eval", "datasets", "langdetect", "math_verify", "antlr4"])
def test_a_package_that_is_missing_is_said(module: str, tmp_path: Path) -> None:
    write_mirror(tmp_path / "mirror")
    hidden = tmp_path / "modules"
    hidden.mkdir()
    (hidden / f"{module}.py").write_text(f"raise ImportError('No module named {module}')\n")
    found = preflight(tmp_path, "ifeval,math", "mirror", **on_the_path(hidden))
    assert found["exit_code"] == 8
    assert f"{module} cannot be imported" in found["message"]
    assert found["hint"] == "pip install 'ggufsurgeon[leaderboard]'"


@pytest.mark.parametrize(
    ("package", "version"),
    [("lm_eval", "0.4.12"), ("lm_eval", "0.4.130"), ("antlr4_python3_runtime", "4.9.3")],
)
def test_another_version_is_said(package: str, version: str, tmp_path: Path) -> None:
    """Prompts and scoring change between releases; sympy reads LaTeX with one antlr4 alone, and
    MATH's older score would be 0 without a word."""
    write_mirror(tmp_path / "mirror")
    metadata = tmp_path / f"modules/{package}-{version}.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    found = preflight(tmp_path, "math", "mirror", **on_the_path(tmp_path / "modules"))
    assert found["exit_code"] == 8
    assert f"{version} is installed" in found["message"]
    assert found["hint"] == "pip install 'ggufsurgeon[leaderboard]'"


def on_the_path(folder: Path) -> dict[str, str]:
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_a_disk_without_room_for_the_cache_is_said(
    tmp_path_factory: pytest.TempPathFactory, small_disk: Path
) -> None:
    home = tmp_path_factory.mktemp("home")
    write_mirror(home / "mirror")
    (small_disk / "filling").write_bytes(bytes((1 << 20) - (64 << 10)))
    found = preflight(home, "bbh", "mirror", HF_HOME=str(small_disk))
    assert found["exit_code"] == 5
    assert str(small_disk) in found["message"] and "No space left" in found["message"]
    assert "HF_HOME" in found["hint"] and found["state"] == "No model was loaded."


def test_a_cache_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    write_mirror(tmp_path / "mirror")
    (tmp_path / "huggingface").write_text("a file where the folder would be")
    found = preflight(tmp_path, "musr", "mirror")
    assert found["exit_code"] in (3, 5)
    assert "Traceback" not in found["message"] and "huggingface" in found["message"]


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nowhere"])
def test_a_cache_that_cannot_be_made_is_said(home: str, tmp_path: Path) -> None:
    """It is no fault of the documents."""
    write_mirror(tmp_path / "mirror")
    found = preflight(tmp_path, "musr", "mirror", HF_HOME=home)
    assert found["exit_code"] == 5
    assert f"cannot be copied to the cache of datasets, {home}/datasets" in found["message"]
    assert "HF_HOME" in found["hint"]
