"""Aliased models in a worker process: the source is loaded once, each job makes its own model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.workers.runner import InProcess
from ggufsurgeon.workers.worker import Worker
from tests.aliasing.jobs import answer, decode_length
from tests.models.expanding import expand_named


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


def test_an_abort_of_llama_cpp_in_the_first_decode_blames_the_file(tmp_path: Path) -> None:
    """gpt2 reads a table of positions, which ends: llama.cpp aborts beyond it (ggml_get_rows)."""
    file = expand_named("gpt2-dense", tmp_path / "gpt2.gguf")
    n_positions = open_gguf(file).header.get("gpt2.context_length")
    assert isinstance(n_positions, int)
    with Worker() as worker, pytest.raises(MalformedFileError, match=r"SIGABRT.*GGML_ASSERT"):
        worker.run(decode_length, file, "0..3,2..7", n_positions + 1)
