"""A model and a base that is another model: in step, or in rounds where both do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon import api
from ggufsurgeon.layer_path.edits import repeat
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.free_memory import free_memory
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.engine.worker import Worker
from ggufsurgeon.scoring.beforehand import Beforehand, fit_together, look_at_both
from ggufsurgeon.scoring.checkpoint import Checkpoint
from ggufsurgeon.scoring.jobs import News, Outcome
from ggufsurgeon.scoring.perplexity import Perplexity, TextSettings
from ggufsurgeon.scoring.run import Run, chunks_a_round, measure
from ggufsurgeon.scoring.task import Side, Task
from ggufsurgeon.verification.model_run import shakespeare

SETTINGS = TextSettings(n_ctx=64, n_chunks=7, n_batch=128)
TEXT = shakespeare()[:20_000]


@pytest.fixture
def longer(stories: Path, tmp_path: Path) -> Path:
    """Of seven blocks."""
    api.patch(stories, tmp_path / "longer.gguf", repeat((0, 2)))
    return tmp_path / "longer.gguf"


def n_blocks_on_devices(found: Perplexity) -> int:
    return sum(len(use.blocks) for use in found.devices)


def figures(found: Perplexity) -> tuple[object, ...]:
    return found.perplexity, found.perplexity_error, found.chunk_losses, found.position_losses


class TimedRun(Run):
    """Keeps what it heard of times."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seconds: list[float] = []

    def _child(self, job: Any, task: Task, hear: Callable[[News], None]) -> Outcome:
        def timed(news: News) -> None:
            self.seconds.append(news.seconds)
            hear(news)

        return super()._child(job, task, timed)


def test_rounds_are_of_whole_batches() -> None:
    """The rounding of a chunk depends on those that are decoded with it."""
    for n_seq, n_chunks_on_disk, expected in ((1, 3, 3), (2, 3, 2), (2, 4, 4), (4, 3, 4)):
        shape = Beforehand(n_chunks=9, n_seq=n_seq, chunk_n_bytes=1000, fit_together=False)
        assert chunks_a_round(shape, n_chunks_on_disk * 1000) == expected


def test_two_models_that_do_not_fit_together(stories: Path, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(free_memory(Devices()))  # a hole, which takes no room
    assert fit_together([stories, stories], Devices())
    assert not fit_together([stories, huge], Devices())


def test_rounds_give_what_two_models_in_step_give(stories: Path, longer: Path) -> None:
    """As where they do not fit in memory together: some chunks of the base, then of the model."""
    for path in (None, LayerPath("0..2,1..4")):
        task = Task(
            Side(stories, path),
            TEXT,
            SETTINGS,
            Devices(),
            base=Side(longer),
            is_routed=path is not None,
        )
        in_step = measure(task, None, NO_PROGRESS, None)
        run = TimedRun(task, Checkpoint(None, None), NO_PROGRESS, None)
        with Worker() as worker:
            shape = worker.run(look_at_both, task)
        assert shape.fit_together and shape.n_chunks == 7
        outcome = run.in_rounds(shape, n_bytes=3 * shape.chunk_n_bytes)
        in_rounds = run.known.measured(outcome)
        assert in_rounds.perplexity.seconds == pytest.approx(sum(run.seconds))
        assert len(run.seconds) == 2 * math.ceil(shape.n_chunks / shape.n_seq)
        assert in_rounds.divergence == in_step.divergence is not None
        assert figures(in_rounds.perplexity) == figures(in_step.perplexity)
        assert in_rounds.base is not None and in_step.base is not None
        assert figures(in_rounds.base) == figures(in_step.base)
        for found in (in_rounds, in_step):
            assert found.base is not None
            assert n_blocks_on_devices(found.perplexity) == 5
            assert n_blocks_on_devices(found.base) == 7


def test_devices_of_a_base(stories: Path, tmp_path: Path) -> None:
    routed = api.divergence(stories, TEXT, base_path=LayerPath("0..4"), settings=SETTINGS)
    assert routed.base is not None and n_blocks_on_devices(routed.base) == 5
    logits = tmp_path / "logits"
    api.divergence(stories, TEXT, save_logits=logits, settings=SETTINGS)
    of_file = api.divergence(stories, TEXT, base_logits=logits, settings=SETTINGS)
    assert of_file.base is not None and of_file.base.devices == ()
