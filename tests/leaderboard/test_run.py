"""The whole run in real processes: tables, kills, stores, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UsageError
from tests.conftest import ROOT
from tests.interrupts import heed_interrupts
from tests.models.expanding import expand

pytest.importorskip("lm_eval", reason="needs the leaderboard extra")
NAMED = "fixtures/stories260K.gguf"
"""As the commands name it, in the folder of the project: tables fold longer names."""
STORIES = ROOT / NAMED
PATHS = ("--window", "1:3", "--model", "cut=0..2,4")
SOME = ("--tasks", "ifeval,bbh,gpqa,musr,mmlu-pro", "--limit", "1")
SIX = ("ifeval", "bbh", "math", "math-original", "gpqa", "musr", "mmlu-pro")


def command(mirror: Path, *arguments: str | Path) -> list[str]:
    program = [sys.executable, "-m", "ggufsurgeon", "leaderboard", NAMED]
    return [*program, "--data", str(mirror), "--threads", "1", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """With the caches of the fixture `harness_home`, and no network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", **changes}


def run(mirror: Path, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(mirror, *arguments),
        capture_output=True,
        text=True,
        env=environment(**changes),
        cwd=ROOT,
        timeout=600,
    )


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def n_answers(store: Path) -> int:
    """How many answers a store holds; 0 while it is being made."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM answer").fetchone()[0])
    return 0


@pytest.fixture(scope="module")
def whole(mirror: Path) -> dict[str, Any]:
    """The run that nothing interrupts, without a store."""
    return found(run(mirror, *PATHS, *SOME, "--details", "--json"))


@pytest.mark.slow
def test_benchmarks_along_two_paths(whole: dict[str, Any]) -> None:
    assert list(whole["base"]["benchmarks"]) == [name for name in SIX if "math" not in name]
    assert [path["name"] for path in whole["paths"]] == ["cut", None]
    assert [path["layer_path"] for path in whole["paths"]] == ["0..2,4", "0..2,1..4"]
    assert whole["base"]["average"] is None and "changes" not in whole["base"]
    for path in whole["paths"]:
        for name, change in path["changes"].items():
            scores = path["benchmarks"][name], whole["base"]["benchmarks"][name]
            for kind in ("raw", "normalised"):
                of_path, of_base = (score[kind]["value"] for score in scores)
                assert change[kind]["value"] == pytest.approx(of_path - of_base)
            assert 0 < change["p_value"] <= 1
    assert len(whole["base"]["benchmarks"]["bbh"]["subtasks"]) == 24


@pytest.mark.slow
def test_all_six_benchmarks(mirror: Path) -> None:
    base = found(run(mirror, "--limit", "1", "--json"))["base"]
    assert tuple(base["benchmarks"]) == SIX
    assert base["n_generated"] == 8
    assert "average" in base and base["average"] is None


@pytest.mark.slow
def test_killed_again_and_again_the_table_is_the_same(
    mirror: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Each run is killed once it has committed something more; the last one ends by itself."""
    store, counts = tmp_path / "answers.db", [0]
    again = command(mirror, *PATHS, *SOME, "--details", "--json", "--store", store)
    for _ in range(4):
        with subprocess.Popen(
            again, env=environment(), cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            while process.poll() is None and n_answers(store) <= counts[-1]:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        if process.returncode == 0:
            break
        counts.append(n_answers(store))
    assert len(counts) > 2 and counts == sorted(set(counts)), "killed amid the answers"
    assert (
        found(subprocess.run(again, env=environment(), cwd=ROOT, capture_output=True, text=True))
        == whole
    )
    assert n_answers(store) == 3 * whole["n_requests"]


@pytest.mark.slow
def test_two_processes_with_one_store(mirror: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    same = command(mirror, *PATHS, *SOME, "--details", "--json", "--store", tmp_path / "answers.db")
    both = [
        subprocess.Popen(same, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        printed = process.communicate(timeout=600)[0]
        assert process.returncode == 0
        assert json.loads(printed) == whole


def test_a_path_that_nothing_runs_is_refused_first(tmp_path: Path) -> None:
    """Before data are looked for, and long before the base has answered."""
    header = ROOT / "fixtures/arch_headers/hrm_text-dense.gguf"
    model = expand(header, tmp_path / "model.gguf", 0)
    with gs.load(model) as loaded, pytest.raises(RefusedError, match="two stacks"):
        loaded.leaderboard([gs.LayerPath("0..3,2..5")], data=tmp_path / "nowhere")


def test_what_a_store_knows_is_not_asked_again(mirror: Path, tmp_path: Path) -> None:
    """The model is not even loaded, as the notes tell; another context is another evaluation."""
    store = tmp_path / "answers.db"
    some = ("--tasks", "musr", "--store", store)
    first = run(mirror, *some)
    assert first.returncode == 0 and "answers missing" in first.stderr
    again = run(mirror, *some)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    more = run(mirror, *some, "--window", "1:3")
    n_requests = found(run(mirror, *some, "--json"))["n_requests"]
    assert f"along 2 layer paths; {n_requests} answers missing\n" in more.stderr
    other = run(mirror, *some, "--ctx", "300")
    assert f"; {n_requests} answers missing\n" in other.stderr


def test_ctrl_c_keeps_what_was_answered(mirror: Path, tmp_path: Path) -> None:
    store = tmp_path / "answers.db"
    arguments = command(mirror, "--tasks", "bbh", *PATHS, "--store", store)
    process = subprocess.Popen(
        arguments,
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    try:
        while process.poll() is None and not n_answers(store):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, printed) == (130, "")
    assert "interrupted by SIGINT" in told
    assert f"{store} has all answers so far; the same command resumes from them." in told
    assert n_answers(store)


def test_a_full_disk(mirror: Path, small_disk: Path) -> None:
    """The store takes no more: said, with what it holds; with room, the run goes on."""
    store, ballast = small_disk / "answers.db", small_disk / "ballast"
    arguments = ("--tasks", "bbh", *PATHS, "--store", store)
    assert run(mirror, "--tasks", "musr", "--store", store).returncode == 0
    ballast.write_bytes(
        b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 8192)
    )
    done = run(mirror, *arguments)
    assert done.returncode == 5, done.stderr
    assert "full" in done.stderr and "holds what was found before" in done.stderr
    ballast.unlink()
    assert run(mirror, *arguments).returncode == 0


def test_a_context_that_is_too_short_is_told_before(mirror: Path) -> None:
    done = run(mirror, "--tasks", "bbh,musr", "--ctx", "64")
    assert done.returncode == 0, done.stderr
    assert "longer than the context of 64 tokens, so that the beginning is lost: " in done.stderr
    assert "prompts lost the beginning" in done.stdout


BAD = {
    "no such benchmark": (("--tasks", "bbh,nonsense"), 2, "nonsense"),
    "no benchmark": (("--tasks", ""), 2, "benchmark"),
    "a bad path": (("--layers", "0..99"), 2, "99"),
    "a bad named path": (("--model", "0..2"), 2, "expected NAME=LAYERS"),
    "a name twice": (("--model", "a=0..2", "--model", "a=0..3"), 2, "given twice"),
    "no such base": (("--base", "nowhere.gguf"), 2, "nowhere.gguf"),
    "variables without an end": (
        ("--chat-template", "--chat-template-kwargs", "[" * 100_000),
        2,
        "expected a JSON object",
    ),
    "a store of another kind": (("--tasks", "musr", "--store", "README.md"), 4, "not a store"),
    "template options alone": (("--thinking-tokens", "5"), 2, "requires --chat-template"),
    "variables that are none": (
        ("--chat-template", "--chat-template-kwargs", "[1]"),
        2,
        "expected a JSON object",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests(mirror: Path, name: str) -> None:
    arguments, code, told = BAD[name]
    done = run(mirror, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_is_missing() -> None:
    done = run(Path("nowhere"))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr


def test_a_benchmark_that_is_missing_in_a_mirror(mirror: Path, tmp_path: Path) -> None:
    shutil.copytree(mirror / "musr", tmp_path / "part/musr")
    done = run(tmp_path / "part", "--tasks", "musr,gpqa")
    assert done.returncode == 2 and "gpqa" in done.stderr, done.stderr
    assert "layer paths" not in done.stderr, "no model was loaded"


def test_without_the_harness(tmp_path: Path) -> None:
    """As where the extra is not installed: the packages cannot be imported."""
    (tmp_path / "lm_eval.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run(tmp_path, "--tasks", "musr", PYTHONPATH=path)
    assert done.returncode == 8, done.stderr
    assert "pip install 'ggufsurgeon[leaderboard]'" in done.stderr


def test_another_base(mirror: Path, tmp_path: Path) -> None:
    """A written file against its source is the path over the source, to the last digit."""
    patched = gs.open(STORIES).plan(gs.repeat("1:3")).write(tmp_path / "patched.gguf")
    some = ("--tasks", "musr,mmlu-pro", "--json")
    along = found(run(mirror, *some, "--window", "1:3"))
    program = [sys.executable, "-m", "ggufsurgeon", "leaderboard", str(patched)]
    other = found(
        subprocess.run(
            [*program, "--base", str(STORIES), "--data", str(mirror), "--threads", "1", *some],
            capture_output=True,
            text=True,
            env=environment(),
            cwd=ROOT,
        )
    )
    (path,), (written,) = along["paths"], other["paths"]
    assert (written["benchmarks"], written["changes"]) == (path["benchmarks"], path["changes"])
    assert other["base"]["benchmarks"] == along["base"]["benchmarks"]
    assert (written["layer_path"], other["base"]["layer_path"]) == ("0..6", "0..4")


def test_a_path_over_another_model_than_the_base_names_its_model(mirror: Path) -> None:
    copy = mirror.parent / "copy.gguf"
    shutil.copy(STORIES, copy)
    done = run(mirror, "--tasks", "musr", "--base", copy, "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert str(copy)[:24] in done.stdout  # a long name is folded
    assert f"{NAMED} along 0..4" in done.stdout


def test_the_table_for_people(mirror: Path) -> None:
    done = run(mirror, "--tasks", "musr,gpqa", *PATHS, "--limit", "3", "--details")
    assert done.returncode == 0, done.stderr
    title, *lines = done.stdout.splitlines()
    assert title == "Open LLM Leaderboard"
    for told in ("as it is", "cut (0..2,4)", "0..2,1..4", "of 756", "of 1,192", "needed"):
        assert told in done.stdout
    assert "musr_murder_mysteries" in done.stdout
    assert any("judged together" in line for line in lines)
    assert any(line.startswith("No average:") and "--limit 3" in line for line in lines)


def test_one_model_alone_has_no_changes(mirror: Path) -> None:
    done = run(mirror, "--tasks", "musr")
    assert done.returncode == 0, done.stderr
    assert "change" not in done.stdout and NAMED in done.stdout
    assert found(run(mirror, "--tasks", "musr", "--json"))["paths"] == []


def test_in_another_thread_nothing_is_begun(mirror: Path) -> None:
    code = (
        "import threading, ggufsurgeon as gs\n"
        "def go():\n"
        f"    with gs.load({str(STORIES)!r}) as model:\n"
        "        try:\n"
        "            model.leaderboard(benchmarks=['musr'])\n"
        "        except gs.GgufSurgeonError as error:\n"
        "            print(error)\n"
        "thread = threading.Thread(target=go)\n"
        "thread.start(), thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "main thread" in done.stdout, done.stderr


def test_bases_with_another_chat_template_are_refused(tmp_path: Path, smollm2: Path) -> None:
    with gs.load(STORIES) as model, pytest.raises(UsageError, match="different chat templates"):
        model.leaderboard(base=smollm2, chat=gs.ChatSettings(), data=tmp_path)
    with gs.load(STORIES) as model, pytest.raises(UsageError, match="has no chat template"):
        model.leaderboard(chat=gs.ChatSettings(), data=tmp_path)


@pytest.mark.slow
def test_prompts_by_the_chat_template(mirror: Path, smollm2: Path, tmp_path: Path) -> None:
    """They are other requests than plain prompts: a store with answers to those has none."""
    program = [sys.executable, "-m", "ggufsurgeon", "leaderboard", str(smollm2)]
    some = ("--data", str(mirror), "--tasks", "musr", "--limit", "1", "--threads", "1", "--json")
    again = [*program, *some, "--store", str(tmp_path / "answers.db")]
    for words in ((), ("--chat-template",), ("--chat-template", "--thinking-tokens", "9")):
        done = subprocess.run([*again, *words], capture_output=True, text=True, env=environment())
        n_requests = found(done)["n_requests"]
        if "--thinking-tokens" in words:
            assert done.stderr == "", "likelihoods have no room to think: nothing is asked anew"
        else:
            assert f"; {n_requests} answers missing\n" in done.stderr
