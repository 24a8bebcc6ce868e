"""The JSON of every command, kept in golden/.

After a change of the JSON that is meant, write the files anew and read the difference:
`WRITE_GOLDEN=1 python -m pytest tests/cli/test_golden.py; git diff tests/cli/golden`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.cli.test_help import COMMANDS
from tests.conftest import ROOT, Run
from tests.leaderboard.mirrors import write_mirror
from tests.models.builders import llama_model
from tests.models.companions import lora

GOLDEN = Path(__file__).parent / "golden"
WINDOW = ("--window", "1:3")
TEXT = ("--text", "prose.txt", "--ctx", "64", "--chunks", "4")
SHORT = ("--ctx", "16", "--chunks", "2")
TASKS = ("--tasks", "choices.jsonl", "--limit", "2")
BENCHMARKS = ("--tasks", "musr,mmlu-pro", "--data", "mirror", "--limit", "2")
SCAN = ("--arithmetic", "12", "--layers", "0..2")
SEARCH = ("--arithmetic", "12", "--max-paths", "4", "--strengths", "1")
CASES: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "tiny.gguf"),
    "inspect_hash": ("inspect", "tiny.gguf", "--hash"),
    "plan": ("plan", "model.gguf", *WINDOW, "-ts", "1,1", "--memory", "1GB,3GB"),
    "patch": ("patch", "model.gguf", "new.gguf", *WINDOW),
    "verify": ("verify", "patched.gguf", "--source", "model.gguf", "--thorough", *SHORT),
    "restore": ("restore", "patched.gguf", "restored.gguf"),
    "recover": ("recover", "patched.gguf"),
    "recipe": ("recipe", "patched.gguf"),
    "card": ("card", "patched.gguf", "--base-model", "org/name"),
    "selftest": ("selftest",),
    "diff": ("diff", "model.gguf", "patched.gguf"),
    "patch_companion": (
        "patch-companion",
        "lora.gguf",
        "new.gguf",
        "--source",
        "model.gguf",
        *WINDOW,
    ),
    "generate": ("generate", "model.gguf", *WINDOW, "--prompt", "Once", "--tokens", "8"),
    "perplexity": ("perplexity", "model.gguf", *TEXT),
    "perplexity_details": ("perplexity", "model.gguf", *TEXT, "--details"),
    "perplexity_window": ("perplexity", "model.gguf", *TEXT, *WINDOW, "--base-layers", "0..4"),
    "choose": ("choose", "model.gguf", *TASKS),
    "choose_window": ("choose", "model.gguf", *TASKS, *WINDOW, "--details"),
    "leaderboard": ("leaderboard", "model.gguf", *WINDOW, *BENCHMARKS, "--details", "--quiet"),
    "anatomy": ("anatomy", "model.gguf", "--contents", "5"),
    "scan": ("scan", "model.gguf", *SCAN, "--store", "new.db", "--quiet"),
    "search": ("search", "model.gguf", *SEARCH, "--store", "scan.db", "--quiet"),
    "report": ("report", "scan.db"),
}
EXIT_CODES = {"diff": 7}
"""Where it is not 0: the files differ."""
NEEDS_LLAMA = {
    *("verify", "generate", "perplexity", "choose", "leaderboard", "anatomy", "scan"),
    *("search", "report", "selftest"),
}
VARYING = {
    *("seconds", "seconds_to_first", "tokens_per_second"),
    *("description", "n_bytes_memory", "n_bytes_compute", "detail"),
    *("n_bytes_shared", "n_bytes_written"),
}
"""Keys whose values differ from run to run or from machine to machine."""
VARYING_OF = {
    "anatomy": {
        *("verdicts", "verdict", "p_value", "z", "contrast_interval", "low", "high", "error"),
        *("middle", "first_interval", "end_interval", "median_rank", "share_first", "patching"),
    },
}
"""Besides these, what a comparison of close numbers decides, which other CPUs round differently."""


def normalised(value: Any, varying: Set[str] = VARYING, key: str = "") -> Any:
    """The value with "varies" in place of what does."""
    if key in varying and value is not None:
        return "varies"
    if isinstance(value, dict):
        return {name: normalised(each, varying, name) for name, each in value.items()}
    if isinstance(value, list):
        return [normalised(each, varying, key) for each in value]
    return value


def assert_alike(found: Any, expected: Any, where: str) -> None:
    """The same keys in the same order, types and values; other CPUs round floats differently."""
    assert type(found) is type(expected), where
    if isinstance(found, dict):
        assert list(found) == list(expected), where
        for key in found:
            assert_alike(found[key], expected[key], f"{where}.{key}")
    elif isinstance(found, list):
        assert len(found) == len(expected), where
        for n, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_alike(one, other, f"{where}[{n}]")
    elif isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-2, abs=1e-3), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("case", CASES)
def test_json(
    case: str, stories: Path, tmp_path: Path, surgeon: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CASES[case][0]
    if command in NEEDS_LLAMA:
        pytest.importorskip("llama_cpp", reason="needs the llama extra")
    shutil.copy(stories, tmp_path / "model.gguf")
    shutil.copy(ROOT / "fixtures/tasks/choices.jsonl", tmp_path)
    (tmp_path / "tiny.gguf").write_bytes(llama_model(3))
    (tmp_path / "lora.gguf").write_bytes(lora(stories))
    if command == "leaderboard":
        pytest.importorskip("lm_eval", reason="needs the leaderboard extra")
        write_mirror(tmp_path / "mirror")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    (tmp_path / "prose.txt").write_bytes(shakespeare() + b"\n")
    if "patched.gguf" in CASES[case]:
        assert surgeon("patch", "model.gguf", "patched.gguf", *WINDOW).returncode == 0
    if command in ("report", "search"):
        assert surgeon("scan", "model.gguf", *SCAN, "--store", "scan.db").returncode == 0
    done = surgeon(*CASES[case], "--json")
    assert (done.returncode, done.stderr) == (EXIT_CODES.get(case, 0), "")
    if command == "scan":  # a line for each path
        told = [json.loads(line) for line in done.stdout.splitlines()]
    else:
        told = json.loads(done.stdout)
    found = normalised(told, VARYING | VARYING_OF.get(case, set()))
    kept = GOLDEN / f"{case}.json"
    if "WRITE_GOLDEN" in os.environ:
        kept.write_text(json.dumps(found, indent=1) + "\n")
    assert_alike(found, json.loads(kept.read_text()), case)


def test_every_command_has_a_golden_file() -> None:
    talking = {"chat", "serve"}  # for as long as they run; they print no object
    assert {arguments[0] for arguments in CASES.values()} == set(COMMANDS) - talking
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def test_no_object_is_written_by_the_names_of_fields() -> None:
    """A field that is renamed must not rename a key."""
    modules = (ROOT / "ggufsurgeon/cli").rglob("*.py")
    assert [path.name for path in modules if "asdict" in path.read_text()] == []
