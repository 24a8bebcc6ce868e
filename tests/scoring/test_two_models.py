"""A model and a base that is another model: in step, or in rounds where both do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import repeat
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch, score
from tests.engine.made_groups import memory_limits, real_group, run_in
from tests.models.fine_tunes import fine_tune
from tests.writing.plans import sparse_model

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.devices.free_memory import free_memory
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.group import ChunkResult, UsedDevices
from ggufsurgeon.scoring.results import PartialResult, PathResult
from ggufsurgeon.scoring.task import ModelReference, ScoringTask
from ggufsurgeon.scoring.two_models import (
    chunks_a_round,
    fit_together,
    score_in_rounds,
    score_in_step,
)
from ggufsurgeon.statistics.perplexity import Perplexity
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from ggufsurgeon.workers.runner import InProcess

pytestmark = pytest.mark.slow

ONE_THREAD = Devices(n_threads=1)
"""A small model gains nothing by two, which wait for each other."""
SETTINGS = TextSettings(n_ctx=64, n_chunks=7, n_batch=128)
TEXT = shakespeare()[:20_000]
PATHS = (None, LayerPath("0..2,1..4"))
N_CHUNK_BYTES = 31 * 512 * 4


@pytest.fixture
def longer(stories: Path, tmp_path: Path) -> Path:
    """A model of seven blocks."""
    patch(stories, tmp_path / "longer.gguf", repeat((0, 2)))
    return tmp_path / "longer.gguf"


def n_blocks_on_devices(found: Perplexity) -> int:
    return sum(len(use.blocks) for use in found.devices)


def figures(found: Perplexity) -> tuple[object, ...]:
    return found.value, found.error, found.chunk_losses, found.position_losses


def scored(
    job: Callable[..., UsedDevices],
    task: ScoringTask,
    *more: int,
    n_done: tuple[int, ...] | None = None,
) -> tuple[tuple[PathResult, ...], list[ChunkResult]]:
    """The results of a job in this process, and all that it emitted."""
    partial = PartialResult(task, [None] * len(task.layer_paths))
    emitted: list[ChunkResult] = []

    def take(result: ChunkResult) -> None:
        emitted.append(result)
        partial.add(result)

    with InProcess() as runner:
        done = n_done or (0,) * len(task.layer_paths)
        used = runner.run(job, task, task.reference, done, *more, on_result=take)
    return partial.results(used), emitted


def test_rounds_are_of_whole_batches() -> None:
    """The rounding of a chunk depends on those that are decoded with it."""
    for n_seq, n_chunks_on_disk, expected in ((1, 3, 3), (2, 3, 2), (2, 4, 4), (4, 3, 4)):
        assert chunks_a_round(n_seq, 1000, n_chunks_on_disk * 1000) == expected


def test_two_models_that_do_not_fit_together(stories: Path, tmp_path: Path) -> None:
    n_bytes = free_memory(Devices()) // 4096 * 4096
    huge = sparse_model(tmp_path / "huge", 1, n_bytes)  # a hole, which takes no room
    assert fit_together([stories, stories], Devices())
    assert not fit_together([stories, huge], Devices())


def test_two_models_in_a_small_container_run_in_turn(stories: Path) -> None:
    """The limit of a control group counts, whatever the machine has free."""
    code = (
        "from pathlib import Path; from ggufsurgeon.engine.model import Devices;"
        "from ggufsurgeon.scoring.two_models import fit_together;"
        f"print(fit_together([Path({str(stories)!r})] * 2, Devices()))"
    )
    assert run_in("", code) == "True"
    with real_group("memory", memory_limits(2 << 30)) as joins:
        assert run_in(joins, code) == "False"


@pytest.mark.parametrize("paths", [PATHS[:1], PATHS[1:], PATHS])
def test_rounds_give_what_two_models_in_step_give(
    stories: Path, longer: Path, paths: tuple[LayerPath | None, ...]
) -> None:
    """As where they do not fit in memory together: some chunks of the base, then of the model."""
    reference = ModelReference(longer)
    task = ScoringTask(stories, paths, TEXT, SETTINGS, ONE_THREAD, reference)
    in_step, _ = scored(score_in_step, task)
    in_rounds, emitted = scored(score_in_rounds, task, 3 * N_CHUNK_BYTES)
    assert [result.path for result in emitted] == [*range(len(paths))] * 4
    assert sum(result.reference_n_chunks for result in emitted) == 7
    for one, other in zip(in_step, in_rounds, strict=True):
        assert one.comparison == other.comparison is not None
        assert figures(one.perplexity) == figures(other.perplexity)
        assert one.base is not None and other.base is not None
        assert figures(one.base) == figures(other.base)
        for found in (one, other):
            assert found.base is not None and found.base.tokens_per_second > 0
            assert n_blocks_on_devices(found.perplexity) == 5
            assert n_blocks_on_devices(found.base) == 7


def test_rounds_and_steps_over_several_models(stories: Path, longer: Path, tmp_path: Path) -> None:
    """Also where the base is one of them: it is loaded again for the paths."""
    second = fine_tune(stories, tmp_path / "second.gguf")
    paths = (LayerPath("0..2,1:3..4"), LayerPath("1:0..4"))
    for base in (longer, second):
        reference = ModelReference(base)
        task = ScoringTask(stories, paths, TEXT, SETTINGS, ONE_THREAD, reference, others=(second,))
        in_step, _ = scored(score_in_step, task)
        in_rounds, _ = scored(score_in_rounds, task, 3 * N_CHUNK_BYTES)
        for one, other in zip(in_step, in_rounds, strict=True):
            assert one.comparison == other.comparison is not None
            assert figures(one.perplexity) == figures(other.perplexity)
        assert figures(in_step[0].perplexity) != figures(in_step[1].perplexity)
    assert in_step[1].comparison is not None
    assert in_step[1].comparison.kl.mean.value < 1e-9, "the second model is its own path"


def test_each_row_tells_its_own_time(stories: Path, longer: Path) -> None:
    task = ScoringTask(stories, PATHS, TEXT, SETTINGS, ONE_THREAD, ModelReference(longer))
    for job, more in ((score_in_step, ()), (score_in_rounds, (3 * N_CHUNK_BYTES,))):
        results, emitted = scored(job, task, *more)
        for n, result in enumerate(results):
            own = sum(one.seconds for one in emitted if one.path == n)
            assert result.perplexity.seconds == pytest.approx(own)
            assert result.perplexity.tokens_per_second == pytest.approx(7 * 64 / own)
        of_base = sum(one.reference_seconds for one in emitted)
        assert results[0].base is not None
        assert results[0].base.tokens_per_second == pytest.approx(7 * 64 / of_base)
        times = {r.perplexity.seconds for r in results} | {results[0].base.seconds}
        assert len(times) == 3 and min(times) > 0


def test_groups_that_are_known_are_not_run(stories: Path, longer: Path) -> None:
    task = ScoringTask(stories, PATHS, TEXT, SETTINGS, ONE_THREAD, ModelReference(longer))
    for job, more in ((score_in_step, ()), (score_in_rounds, (3 * N_CHUNK_BYTES,))):
        _, whole = scored(job, task, *more)
        _, rest = scored(job, task, *more, n_done=(6, 2))
        assert sum(result.reference_n_chunks for result in rest) == 5
        assert [(result.path, len(result.scores.losses)) for result in rest] == [
            (1, 2),
            (1, 2),
            (0, 1),
            (1, 1),
        ]
        for path, n_groups in ((0, 1), (1, 3)):
            again = [result.scores for result in rest if result.path == path]
            first = [result.scores for result in whole if result.path == path][-n_groups:]
            for one, other in zip(first, again, strict=True):
                assert np.array_equal(one.losses, other.losses)
                assert one.paired is not None and other.paired is not None
                assert all(map(np.array_equal, one.paired, other.paired))


def test_devices_of_a_base(stories: Path, tmp_path: Path) -> None:
    routed = score(stories, TEXT, reference=gs.PathReference(LayerPath("0..4")), settings=SETTINGS)
    assert routed.base is not None and n_blocks_on_devices(routed.base) == 5
    logits = tmp_path / "logits"
    score(stories, TEXT, save_logits=logits, settings=SETTINGS)
    of_file = score(stories, TEXT, reference=gs.LogitsFileReference(logits), settings=SETTINGS)
    assert of_file.base is not None and of_file.base.devices == ()
    assert of_file.base.tokens_per_second == 0


def test_logits_are_saved_beside_another_model(stories: Path, longer: Path, tmp_path: Path) -> None:
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    score(stories, TEXT, save_logits=alone, settings=SETTINGS)
    score(stories, TEXT, reference=gs.ModelReference(longer), save_logits=beside, settings=SETTINGS)
    assert alone.read_bytes() == beside.read_bytes()


def test_a_stride_with_a_base(stories: Path, longer: Path) -> None:
    strided = TextSettings(64, stride=8)
    with pytest.raises(UsageError, match="a stride cannot be combined"):
        score(stories, TEXT, reference=gs.ModelReference(longer), settings=strided)
