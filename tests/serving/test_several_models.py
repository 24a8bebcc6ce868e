"""A server of paths over several models: along each, what the written file answers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")
pytest.importorskip("fastapi", reason="needs the serve extra")

import ggufsurgeon as gs
from ggufsurgeon.layer_path.path import LayerPath
from tests.conftest import Run
from tests.models.fine_tunes import fine_tune
from tests.serving.server import (
    CHAT_FORMAT,
    answers_of_file,
    messages,
    model_options,
    running_server,
)

PATHS = {"mix": "0..2,1:3..4", "second": "1:0..4", "own": "0..3,2..4"}
TEXTS = ["Hello", "Once upon a time"]


@pytest.mark.slow
def test_answers_are_those_of_the_written_files(stories: Path, tmp_path: Path) -> None:
    second = fine_tune(stories, tmp_path / "second.gguf")
    expected = {"stories260K": answers_of_file(stories, TEXTS, 16)}
    for name, path in PATHS.items():
        plan = gs.open(stories).plan(LayerPath(path), others=[second])
        expected[name] = answers_of_file(plan.write(tmp_path / name), TEXTS, 16)
    assert len({tuple(answers) for answers in expected.values()}) == len(expected)
    options = ["--ctx", "512", "--chat-format", CHAT_FORMAT, "--threads", "1"]
    options += ["--with", str(second), *model_options(PATHS)]
    with running_server(stories, *options) as server:
        client = server.client()
        assert [model.id for model in client.models.list()] == list(expected)
        for _ in range(2):  # each name keeps its context while the others answer
            for name, answers in expected.items():
                for text, answer in zip(TEXTS, answers, strict=True):
                    told = client.chat.completions.create(
                        model=name, messages=messages(text), temperature=0, max_tokens=16
                    )
                    assert told.choices[0].message.content == answer, name


def test_paths_that_cannot_be_are_refused_before_it_listens(
    stories: Path, surgeon: Run, tmp_path: Path
) -> None:
    second = fine_tune(stories, tmp_path / "second.gguf")
    for options, code, says in (
        (("--model", "mix=0..2,1:3"), 2, "there is no model 1"),
        (("--model", "mix=0..2,1:9", "--with", second), 2, "there is no block 9"),
        (("--model", "mix=0,1:1", "--with", "missing.gguf"), 2, "missing.gguf: cannot be"),
    ):
        done = surgeon("serve", stories, "--port", "0", *options)
        assert done.returncode == code and says in done.stderr, done.stderr
