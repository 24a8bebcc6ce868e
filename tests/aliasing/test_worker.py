"""Aliased models in a worker process: the source is loaded once, each job makes its own model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.workers.runner import InProcess
from ggufsurgeon.workers.worker import Worker
from tests.aliasing.jobs import answer


@pytest.mark.parametrize("runner", [Worker, InProcess])
def test_jobs_share_the_source(runner: type[Worker] | type[InProcess], stories: Path) -> None:
    pieces: list[str] = []
    with runner() as process:
        first = process.run(answer, stories, "4,0..4", "Once upon", on_result=pieces.append)
        other = process.run(answer, stories, "0..4", "Once upon")
        again = process.run(answer, stories, "4,0..4", "Once upon")
    assert first[0] == other[0] == again[0], "the source stays loaded"
    assert "".join(pieces) == first[1] == again[1]
    assert first[1] != other[1]
