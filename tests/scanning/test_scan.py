"""Scans of real models: the scores are those of written files, and nothing is lost."""

from __future__ import annotations

import os
import random
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.errors import EngineError, RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.multiple_choice.task_files import read_tasks
from ggufsurgeon.multiple_choice.tasks import TaskFormat
from ggufsurgeon.scanning.jobs import stored_groups
from ggufsurgeon.scanning.jobs.job import Scored
from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe
from ggufsurgeon.scanning.probes.choices import ChoicesProbe
from ggufsurgeon.scanning.probes.text import TextProbe
from ggufsurgeon.scanning.scan import ScanSize
from ggufsurgeon.scanning.windows import WindowRange, repeats
from tests.conftest import ROOT
from tests.models.expanding import expand_named

TEXT = b"Once upon a time there was a little dog. It ran to the big red ball and was happy. " * 60
PATHS = [LayerPath("0..2,1..4"), LayerPath("0..4,0..4"), LayerPath("0..1,3..4"), LayerPath("0..3")]
ALL_SCORES = "SELECT layer_path, item, score FROM item_score ORDER BY probe, layer_path, item"


def scores_in(store: Path) -> list[tuple[str, int, float | None]]:
    with closing(sqlite3.connect(store)) as database:
        return database.execute(ALL_SCORES).fetchall()


def scores_along(store: Path, path: LayerPath | str) -> list[float | None]:
    return [score for name, _, score in scores_in(store) if name == str(path)]


@pytest.fixture(scope="module")
def store(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.db"
    with gs.load(stories) as model:
        model.scan(path, TextProbe(TEXT, 64, 11), PATHS)
    return path


def test_text_scores_are_those_of_the_written_file(
    store: Path, stories: Path, tmp_path: Path
) -> None:
    """As `perplexity` measures it, to the last bit: they run in the same batches."""
    settings = gs.TextSettings(64, 11)
    for path in [None, *PATHS]:
        file = stories
        if path is not None:
            file = gs.open(stories).plan(path).write(tmp_path / f"{path}.gguf")
        with gs.load(file) as model:
            losses = model.perplexity(TEXT, settings=settings).chunk_losses
        found = scores_along(store, path or LayerPath("0..4"))
        assert found == [-loss for loss in losses]


def test_margins_are_those_of_choose(stories: Path, tmp_path: Path) -> None:
    tasks = read_tasks(ROOT / "fixtures/tasks/choices.jsonl", TaskFormat.JSONL)
    with gs.load(stories) as model:
        model.scan(tmp_path / "scan.db", ChoicesProbe(tuple(tasks)), PATHS)
        results = model.choose(ROOT / "fixtures/tasks/choices.jsonl", [None, *PATHS])
    for path, result in zip([LayerPath("0..4"), *PATHS], results, strict=True):
        expected = [one.margin for one in result.task_results]
        # Other tasks share the batch, so rounding differs.
        assert scores_along(tmp_path / "scan.db", path) == pytest.approx(expected, abs=0.02)


def test_arithmetic_scores_are_log_probabilities_of_the_results(
    stories: Path, tmp_path: Path
) -> None:
    probe = ArithmeticProbe(6, seed=3)
    with gs.load(stories, in_process=True) as model:
        model.scan(tmp_path / "scan.db", probe, [])
        llama = model.aliased(LayerPath("0..4,4")).llama(n_ctx=256, logits_all=True)
        items = probe.items(llama._model.loaded)
        model.scan(tmp_path / "scan.db", probe, [LayerPath("0..4,4")])
        for item, found in zip(items, scores_along(tmp_path / "scan.db", "0..4,4"), strict=True):
            (sequence,) = item.sequences
            llama.reset()
            llama.eval(sequence.tokens.tolist())
            logits = np.array(llama.scores[: len(sequence.tokens)], dtype=np.float64)
            logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            at = range(sequence.first, len(sequence.tokens))
            expected = sum(logs[n - 1, sequence.tokens[n]] for n in at)
            assert found == pytest.approx(expected, abs=0.02)  # batches differ, so does rounding


def test_problems_are_right_and_drawn_by_the_seed() -> None:
    problems = ArithmeticProbe(200, seed=1).problems()
    assert len(set(problems)) == 200 and problems != ArithmeticProbe(200, seed=2).problems()
    for problem, result in problems:
        assert eval(problem.removesuffix("=")) == int(result)


def test_what_is_known_is_not_run_again(store: Path, stories: Path) -> None:
    before, sizes, ran = scores_in(store), list[ScanSize](), list[Scored]()
    with gs.load(stories) as model:
        for paths in (PATHS, [*PATHS, LayerPath("0..4,4")]):
            model.scan(
                store,
                TextProbe(TEXT, 64, 11),
                paths,
                on_size=sizes.append,
                on_result=ran.append,
            )
    assert [size.n_passes for size in sizes] == [0, 1]
    assert [str(one.path) for one in ran] == ["0..4,4"]
    assert set(before) < set(scores_in(store))


def test_probes_share_a_store(store: Path, stories: Path) -> None:
    with gs.load(stories) as model:
        model.scan(store, ArithmeticProbe(12), PATHS)
        model.scan(store, TextProbe(TEXT, 32, 11), PATHS)
    (found,) = gs.scan_findings(store)
    names = [probe.probe for probe in found.probes]
    assert names == ["text", "arithmetic", "text 2", "joint"]
    assert found.probes[-1].item_labels == ("text", "arithmetic")
    assert (found.model, found.architecture, found.n_blocks) == ("stories260K.gguf", "llama", 5)
    for probe in found.probes:
        assert [path.kind for path in probe.paths].count("window") == len(
            [path for path in probe.paths if path.first is not None and path.kind == "window"]
        )


def test_paths_that_cannot_be_run_or_written(tmp_path: Path) -> None:
    """llama4's attention goes by index in a file: blocks can move by four places alone."""
    model = expand_named("llama4-moe@words=stories260K", tmp_path / "model.gguf")
    n_blocks = gs.open(model).n_blocks
    paths = [one.path for one in repeats(n_blocks, WindowRange(smallest=1, largest=1))]
    paths.append(LayerPath("0..7,4..7"))
    sizes: list[ScanSize] = []
    with gs.load(model) as loaded:
        for only_writable in (False, True):
            loaded.scan(
                tmp_path / "scan.db",
                ArithmeticProbe(4),
                paths,
                only_writable=only_writable,
                on_size=sizes.append,
            )
    n_not_writable = sizes[0].not_writable.n_paths
    assert n_not_writable > 0 and sizes[0].n_paths == len(paths)
    assert sizes[1].n_paths == len(paths) - n_not_writable
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    marked = [path for path in found.probes[0].paths if path.not_writable]
    assert len(marked) == n_not_writable
    assert all(path.z is not None for path in marked)


def test_paths_that_cannot_be_routed_leave_the_others_alone(tmp_path: Path) -> None:
    """talkie's later blocks read what feeds block 0. Answers run along what can be written."""
    model = expand_named("talkie-dense@words=stories260K", tmp_path / "model.gguf")
    paths = [LayerPath("0..1,0..7"), LayerPath("1..7"), LayerPath("0..4,3..7"), LayerPath("0..5,7")]
    sizes: list[ScanSize] = []
    with gs.load(model, gs.Devices(n_threads=1)) as loaded:
        for probe in (ArithmeticProbe(4), ArithmeticAnswerProbe(2)):
            loaded.scan(tmp_path / "scan.db", probe, paths, on_size=sizes.append)
    assert [size.n_paths for size in sizes] == [2, 4]
    assert sizes[0].refused.n_paths == 2 and "what feeds block 0" in sizes[0].refused.reason
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    problems = {path.layer_path: path.problem for path in found.probes[0].paths}
    assert [bool(problems[str(path)]) for path in paths] == [True, True, False, False]
    assert sizes[0].refused.reason == problems["1..7"]
    names = {name for name, _, score in scores_in(tmp_path / "scan.db") if score is not None}
    assert names == {"0..7", *map(str, paths)}


def test_the_unmodified_model_is_no_path(stories: Path, tmp_path: Path) -> None:
    sizes: list[ScanSize] = []
    with gs.load(stories, gs.Devices(n_threads=1)) as model:
        with pytest.raises(UsageError, match=r"that of the unmodified model.* is the only one"):
            model.scan(tmp_path / "none.db", ArithmeticProbe(4), [LayerPath("0..4")])
        paths = [LayerPath("0..4"), PATHS[0]]
        model.scan(tmp_path / "scan.db", ArithmeticProbe(4), paths, on_size=sizes.append)
    assert (sizes[0].n_paths, sizes[0].has_base) == (1, True)
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    assert [path.layer_path for path in found.probes[0].paths] == [str(PATHS[0])]
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("arguments", [("text", PATHS), (ArithmeticProbe(4), gs.repeat("1:2"))])
def test_arguments_that_are_none(stories: Path, tmp_path: Path, arguments: tuple[Any, Any]) -> None:
    with gs.load(stories) as model, pytest.raises(UsageError, match=r"is no (probe|list of layer)"):
        model.scan(tmp_path / "scan.db", *arguments)


def test_text_is_no_path_for_any_method(stories: Path, tmp_path: Path) -> None:
    path: Any = "0..3,3..4"
    with gs.load(stories) as model:
        for call in (
            lambda: model.scan(tmp_path / "scan.db", ArithmeticProbe(4), [path]),
            lambda: model.score(TEXT, [path]),
            lambda: gs.open(stories).plan(path),
        ):
            with pytest.raises(UsageError, match=r"'0..3,3..4' is no layer path") as told:
                call()
            assert 'LayerPath("0..6,4..29")' in told.value.hint


WAITING = """
import time
from ggufsurgeon.store.lease_owner import this_owner
print(this_owner(), flush=True)
time.sleep(120)
"""


def test_who_waits_says_for_whom(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_groups, "QUIET_S", 0.2)
    store, told = tmp_path / "scan.db", list[str]()
    with (
        gs.load(stories, gs.Devices(n_threads=1)) as model,
        subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE) as other,
    ):
        assert other.stdout is not None
        owner = other.stdout.readline().decode().strip()
        model.scan(store, ArithmeticProbe(4), [])
        with closing(sqlite3.connect(store)) as database, database:
            database.execute("INSERT INTO lease VALUES (1, 0, '0..4', ?)", (owner,))

        def end(process: str) -> None:
            told.append(process)
            other.kill()

        model.scan(store, ArithmeticProbe(4), [PATHS[0]], on_wait=end)
    assert told == [f"process {other.pid}"]
    assert len(scores_along(store, PATHS[0])) == 4


NO_SCORES = ("nan", "inf", "1e200")


@dataclass(frozen=True)
class FailingProbe:
    """A probe of somebody else, with a fault."""

    fault: str
    name = "failing"
    unit = "points"

    def settings(self) -> dict[str, Any]:
        return {"fault": self.fault}

    def items(self, model: Any) -> Sequence[Any]:
        if self.fault == "items":
            raise RuntimeError("out of ideas")
        items = list(TextProbe(TEXT, 64, 4).items(model))
        return items[:1] if self.fault == "few" else items

    def score(self, index: int, log_probs: Sequence[Any]) -> float:
        if self.fault == "score" and index == 2:
            raise ZeroDivisionError("by hand")
        if self.fault == "exit" and index == 2:
            os._exit(3)
        return float(self.fault) if self.fault in NO_SCORES and index == 1 else 1.0


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("items", "probe failing failed: RuntimeError: out of ideas"),
        ("score", "failing failed on item 'chunk 2' along 0..4: ZeroDivisionError: by hand"),
        ("few", "at least 2 are needed"),
    ],
)
def test_a_probe_that_fails_is_named(stories: Path, tmp_path: Path, fault: str, says: str) -> None:
    with gs.load(stories) as model:
        with pytest.raises(UsageError, match=says):
            model.scan(tmp_path / "scan.db", FailingProbe(fault), PATHS)
        model.scan(tmp_path / "scan.db", TextProbe(TEXT, 64, 4), PATHS)  # the model is still there


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fault", NO_SCORES)
def test_scores_that_are_no_numbers_are_marked(stories: Path, tmp_path: Path, fault: str) -> None:
    with gs.load(stories, in_process=True) as model:
        model.scan(tmp_path / "scan.db", FailingProbe(fault), PATHS)
    assert scores_along(tmp_path / "scan.db", PATHS[0]) == [1.0, None, 1.0, 1.0]
    assert gs.scan_findings(tmp_path / "scan.db")


def test_what_a_probe_that_fails_leaves_is_told(stories: Path, tmp_path: Path) -> None:
    """One that ends its process is no bug of this program."""
    store = tmp_path / "scan.db"
    with gs.load(stories) as model:
        with pytest.raises(UsageError) as told:
            model.scan(store, FailingProbe("score"), PATHS)
        assert told.value.state == f"{store} keeps all scores so far."
        with pytest.raises(EngineError, match="ended itself in the job scan_job, with status 3"):
            model.scan(store, FailingProbe("exit"), PATHS)


@pytest.mark.parametrize("score", ["x", 1e308])
def test_scores_that_no_scan_gives_are_damage(stories: Path, tmp_path: Path, score: Any) -> None:
    store = tmp_path / "scan.db"
    with gs.load(stories, gs.Devices(n_threads=1)) as model:
        model.scan(store, ArithmeticProbe(4), [])
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE item_score SET score = ? WHERE item = 2", (score,))
    with pytest.raises(RefusedError, match=r"damaged store: the score of item 2 along 0..4 is"):
        gs.scan_findings(store)


def test_logits_that_are_no_numbers_are_marked(stories: Path, tmp_path: Path) -> None:
    """Block 4 has weights that are none: paths without it go on."""
    file = gs.open(stories).file
    data = bytearray(stories.read_bytes())
    index = next(n for n, t in enumerate(file.header.tensors) if t.name == "blk.4.ffn_up.weight")
    begin = file.layout.data_start + file.header.tensors[index].offset_in_data
    data[begin : begin + 400] = struct.pack("<f", float("nan")) * 100
    (tmp_path / "nan.gguf").write_bytes(data)
    with gs.load(tmp_path / "nan.gguf") as model:
        model.scan(tmp_path / "scan.db", TextProbe(TEXT, 64, 4), [PATHS[0], PATHS[3]])
    assert scores_along(tmp_path / "scan.db", "0..4") == [None] * 4
    assert scores_along(tmp_path / "scan.db", PATHS[0]) == [None] * 4
    assert None not in scores_along(tmp_path / "scan.db", PATHS[3])
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    assert "not finite numbers" in found.probes[0].verdict


def start(stories: Path, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ggufsurgeon", "scan", str(stories), "--store", str(store)]
    options = ["--arithmetic", "960", "--windows", "0..4:1", "--threads", "1"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_scan_that_is_killed_twenty_times_ends_as_one_that_was_not(
    stories: Path, tmp_path: Path
) -> None:
    generator = random.Random(7)
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    assert start(stories, whole).wait(300) == 0
    n_killed = 0
    while n_killed < 20:
        process = start(stories, killed)
        before = time.monotonic()
        while process.poll() is None and time.monotonic() < before + 1 + generator.random() * 1.5:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        n_killed += 1
    process = start(stories, killed)
    assert process.wait(300) == 0
    assert n_killed >= 3 and scores_in(killed) == scores_in(whole)


@pytest.mark.slow
def test_two_processes_fill_one_store(stories: Path, tmp_path: Path) -> None:
    """Each group is run by one of them; what a dead process had leased is taken over."""
    alone, together = tmp_path / "alone.db", tmp_path / "together.db"
    assert start(stories, alone).wait(300) == 0
    processes = [start(stories, together) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    dying = start(stories, together)
    dying.kill()
    dying.wait()
    assert start(stories, together).wait(300) == 0
    assert scores_in(together) == scores_in(alone)
    with closing(sqlite3.connect(together)) as database:
        assert database.execute("SELECT count(*) FROM lease").fetchone() == (0,)
