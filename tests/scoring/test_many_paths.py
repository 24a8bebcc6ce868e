"""Many layer paths in one stream: the scores of each path alone and of its file, to the bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.errors import RefusedError, WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch, score

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.routing.stage import Stage
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.group import ChunkResult
from ggufsurgeon.scoring.job import score_job
from ggufsurgeon.scoring.logits.kept_logits import opened_kept_logits
from ggufsurgeon.scoring.logits.rows import LogitRows
from ggufsurgeon.scoring.perplexity import measure_perplexity
from ggufsurgeon.scoring.results import PartialResult
from ggufsurgeon.scoring.score_paths import score_paths
from ggufsurgeon.scoring.task import (
    LogitsFileReference,
    PathReference,
    Reference,
    ScoringTask,
)
from ggufsurgeon.statistics.scores import TokenScores, joined
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from ggufsurgeon.workers.runner import InProcess
from tests.models.expanding import expand_named

pytestmark = pytest.mark.slow

TEXT = shakespeare()[:20_000]
SETTINGS = TextSettings(n_ctx=64, n_chunks=5, n_batch=128)
ONE_THREAD = Devices(n_threads=1)
AS_IT_IS = PathReference()
WINDOWS = ("0..2,1..4", "0..1,0..4", "0..3,2..4", "0..4,3..4", "0..3,1..4", "0..2,2..4")
OTHERS = ("0..2,1..2,1..4", "0..1,3..4", "4,3,2,1,0", "0..3", "0,0,1,4,4", "1..2,0,4,3")


def task_of(
    model: Path,
    paths: Sequence[str | None],
    reference: Reference | None = AS_IT_IS,
    settings: TextSettings = SETTINGS,
) -> ScoringTask:
    layer_paths = tuple(None if path is None else LayerPath(path) for path in paths)
    return ScoringTask(model, layer_paths, TEXT, settings, ONE_THREAD, reference)


def scores_of(task: ScoringTask, n_done: Sequence[int] | None = None) -> list[TokenScores]:
    """The scores of each path, of a job in this process."""
    parts: list[list[TokenScores]] = [[] for _ in task.layer_paths]

    def take(result: ChunkResult) -> None:
        parts[result.path].append(result.scores)

    with InProcess() as runner:
        done = n_done or [0] * len(parts)
        runner.run(score_job, task, done, on_result=take)
    return [joined(part) for part in parts]


def assert_equal(one: TokenScores, other: TokenScores) -> None:
    """To the bit."""
    assert np.array_equal(one.losses, other.losses)
    assert (one.paired is None) == (other.paired is None)
    if one.paired is not None and other.paired is not None:
        assert all(map(np.array_equal, one.paired, other.paired))
    if one.base_losses is not None and other.base_losses is not None:
        assert np.array_equal(one.base_losses, other.base_losses)


@pytest.fixture
def n_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each batch that is run along a layer path."""
    counted: list[int] = []
    decode = Stage.decode

    def counting(self: Stage, *arguments: object, **named: object) -> object:
        counted.append(1)
        return decode(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Stage, "decode", counting)
    return counted


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_each_path_alone(stories: Path, seed: int) -> None:
    """Windows, several jumps, drops and reorderings, in any order, beside any of them."""
    generator = np.random.default_rng(seed)
    paths: list[str | None] = [*generator.permutation([*WINDOWS, *OTHERS]).tolist()[:6], "0..4"]
    paths.insert(int(generator.integers(0, 7)), None)
    reference = (None, LayerPath(WINDOWS[seed]), LayerPath("4,3,2,1,0"))[seed]
    together = scores_of(task_of(stories, paths, PathReference(reference)))
    for path, scores in zip(paths, together, strict=True):
        (alone,) = scores_of(task_of(stories, [path], PathReference(reference)))
        assert_equal(scores, alone)
    own = scores_of(task_of(stories, [None if reference is None else str(reference)], None))
    for scores in together:
        assert scores.base_losses is not None
        assert np.array_equal(scores.base_losses, own[0].losses), "those of the reference"


TINY = {
    "gemma3-dense": ("0..5,3..7", "0..2,1..7", "0..4,6..7", "0..7,6..7"),
    "rwkv7-dense": ("0..3,2..7", "0..2,4..7", "0..5,3..5,3..7"),
    "gemma4_shared_kv-dense": ("0..3,2..7", "0..1,1..7", "0..3,2..5,6,6..7"),
    "falcon-h1-dense": ("0..3,2..7", "0..2,4..7", "0..5,3..5,3..7"),
    "granite-moe": ("0..3,2..7", "7,6,5,4,3,2,1,0", "0..2,4..7"),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("n_ctx", "n_batch"), [(50, 200), (300, 128)])
def test_scores_are_those_of_the_written_files(
    tmp_path: Path, name: str, n_ctx: int, n_batch: int
) -> None:
    """Sliding windows, recurrent state, shared KV, hybrids and experts."""
    model = expand_named(f"{name}@words=stories260K", tmp_path / "model.gguf", 0.3)
    settings = TextSettings(n_ctx, 6, n_batch)
    paths = [None, *TINY[name]]
    together = scores_of(task_of(model, paths, settings=settings))
    assert np.unique([scores.losses.mean() for scores in together]).size == len(paths)
    for path, scores in zip(paths, together, strict=True):
        written = model
        if path is not None:
            try:
                written = tmp_path / "written.gguf"
                patch(model, written, LayerPath(path), replace=True)
            except RefusedError:
                continue
        with loaded_model(written, ONE_THREAD) as loaded:
            found = measure_perplexity(loaded, TEXT, settings)
        assert found.chunk_losses == tuple(scores.losses.mean(axis=1).tolist()), path


def test_a_window_costs_one_pass(stories: Path, n_decodes: list[int]) -> None:
    """Two passes for a divergence, W + 1 for W windows; one more for those that end the model."""
    n_groups = 3  # each of one micro-batch
    for paths, n_passes in (
        (["0..2,1..4"], 2),
        ([None, "0..2,1..4"], 2),
        (["0..3,2..4", "0..2,1..4", "0..3,1..4", "0..1,0..4"], 5),
        (["0..2,1..4", "0..4,3..4", "0..4,2..4"], 1 + 3 + 1),
        (["0..2,1..2,1..4", "0..2,1..4"], 1 + 2 + 1),
        (["0..2,1..2,1..4", "0..2,1..2,0..4"], 1 + 1 + 2),
    ):
        n_decodes.clear()
        scores_of(task_of(stories, paths))
        assert len(n_decodes) == n_groups * n_passes, paths
    n_decodes.clear()
    scores_of(task_of(stories, ["0..3,2..4", "0..2,1..4", "0..1,0..4"], None))
    assert len(n_decodes) == n_groups * 4, "the plain pass runs once, without logits"


def test_a_logits_file_beside_many_paths(stories: Path, tmp_path: Path) -> None:
    logits = tmp_path / "logits"
    score(stories, TEXT, save_logits=logits, settings=SETTINGS, devices=ONE_THREAD)
    reference = LogitsFileReference(logits)
    paths = [None, *WINDOWS[:2]]
    together = scores_of(task_of(stories, paths, reference))
    for path, scores in zip(paths, together, strict=True):
        assert scores.paired is not None and scores.base_losses is None
        (alone,) = scores_of(task_of(stories, [path], reference))
        assert_equal(scores, alone)


def rows(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], chunk: int) -> list[LogitRows]:
    """The logits of a chunk in two pieces, the later one first."""
    logits = values[chunk]
    n = len(logits) // 2
    targets = np.zeros(len(logits), dtype=np.int32)
    return [
        LogitRows(5 + chunk, first, targets[part], logits[part])
        for first, part in ((n, slice(n, None)), (0, slice(0, n)))
    ]


def test_logits_in_a_file_are_those_in_memory() -> None:
    values = np.random.default_rng(0).normal(0, 9, (3, 31, 512)).astype(np.float32)
    for limit in (values.nbytes, values.nbytes - 1, 0):
        with opened_kept_logits(3, 31, 512, limit) as kept:
            kept.begin(5)
            for chunk in (2, 0, 1):
                kept.put(rows(values, chunk))
            for chunk in range(3):
                for first, n in ((0, 31), (7, 9), (30, 1)):
                    found = kept.rows(5 + chunk, first, n).rows
                    assert np.array_equal(found, values[chunk, first : first + n])


def test_scores_beside_logits_in_a_file(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [None, *WINDOWS[:2]]
    in_memory = scores_of(task_of(stories, paths))
    monkeypatch.setattr("ggufsurgeon.scoring.logits.kept_logits.LIMIT_N_BYTES", 0)
    for one, other in zip(in_memory, scores_of(task_of(stories, paths)), strict=True):
        assert_equal(one, other)


def test_no_room_for_logits() -> None:
    with (
        pytest.raises(WriteFailedError, match=r"need 4,\d{3},\d{3},.* bytes in "),
        opened_kept_logits(1 << 20, 1 << 20, 1 << 20),
    ):
        pass


class StoppedError(Exception):
    """What a listener raises to interrupt a run."""


@pytest.mark.parametrize("n_results", [1, 4, 6, 11])
def test_an_interrupted_run_resumes_path_by_path(
    stories: Path, tmp_path: Path, n_results: int
) -> None:
    """Wherever it stops, also between two paths of a group; nothing is run twice."""
    task = task_of(stories, [None, *WINDOWS[:3]])
    store = tmp_path / "scores.db"
    with InProcess() as runner:
        whole = score_paths(task, runner)
        heard: list[tuple[int, ...]] = []

        def stop(partial: PartialResult) -> None:
            heard.append(partial.n_chunks)
            if len(heard) == n_results:
                raise StoppedError

        with pytest.raises(StoppedError):
            score_paths(task, runner, store, on_result=stop)
        again: list[tuple[int, ...]] = []
        resumed = score_paths(
            task, runner, store, on_result=lambda partial: again.append(partial.n_chunks)
        )
        assert len(heard) + len(again) == 3 * 4
        assert again[-1] == (5, 5, 5, 5)
        for one, other in zip(whole, resumed, strict=True):
            assert one.layer_path == other.layer_path
            assert one.comparison == other.comparison is not None
            assert one.perplexity.chunk_losses == other.perplexity.chunk_losses
        nothing_new: list[PartialResult] = []
        score_paths(task, runner, store, on_result=nothing_new.append)
        assert nothing_new == []


def test_paths_that_are_added_use_the_same_store(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    counted: list[PartialResult] = []
    with InProcess() as runner:
        score_paths(task_of(stories, WINDOWS[:2]), runner, store)
        more = task_of(stories, [WINDOWS[2], *WINDOWS[:2]])
        results = score_paths(more, runner, store, on_result=counted.append)
        assert len(counted) == 3, "the third path alone"
        for one, other in zip(score_paths(more, runner), results, strict=True):
            assert one.comparison == other.comparison


def test_each_path_tells_its_own_rate(stories: Path) -> None:
    task = task_of(stories, [None, *WINDOWS[:2]])
    with InProcess() as runner:
        start = time.perf_counter()
        results = score_paths(task, runner)
        spent = time.perf_counter() - start
    seconds = [result.perplexity.seconds for result in results]
    assert len(set(seconds)) == 3 and min(seconds) > 0
    assert sum(seconds) < spent, "no time counts twice"
    for result in results:
        rate = result.perplexity.tokens_per_second
        assert rate * result.perplexity.seconds == pytest.approx(5 * 64)
        assert result.base is not None
        assert result.base.seconds == seconds[0], "the model as it is, is its own base"


def test_running_estimates_name_the_path(stories: Path) -> None:
    task = task_of(stories, [None, WINDOWS[0]])
    notes: list[str] = []
    with InProcess() as runner:
        score_paths(task, runner, on_result=lambda partial: notes.append(partial.note))
    assert len(notes) == 6
    assert notes[0].startswith("as it is: perplexity ") and notes[1].startswith(
        "0..2,1..4: perplexity "
    )


def test_a_window_that_cannot_be_routed_stops_the_whole_stream(tmp_path: Path) -> None:
    """Before anything runs: the refusal names the model."""
    model = expand_named("hrm_text-dense@words=stories260K", tmp_path / "model.gguf", 0.3)
    with InProcess() as runner, pytest.raises(RefusedError, match="two stacks"):
        score_paths(task_of(model, ["0..7", "0..3,2..5"]), runner)
