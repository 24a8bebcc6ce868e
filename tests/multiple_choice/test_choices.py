"""Choices: llama-perplexity's scores, those of a plain computation, and routed = written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.layer_path.edits import repeat
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import choose, patch
from tests.conftest import ROOT, Run
from tests.multiple_choice.tasks import TASKS, as_multiple_choice
from tests.pinned import assert_pinned

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.multiple_choice.likelihoods import log_likelihood, normalised
from ggufsurgeon.multiple_choice.packing import pack
from ggufsurgeon.multiple_choice.task_logits import shared_logits
from ggufsurgeon.multiple_choice.task_results import (
    MultipleChoiceResult,
    TaskResult,
    paired_difference,
)
from ggufsurgeon.multiple_choice.task_tokens import TaskTokens
from ggufsurgeon.multiple_choice.tasks import TaskFormat
from ggufsurgeon.statistics.estimate import mean_of
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.models.expanding import expand, expand_named

pytestmark = pytest.mark.slow

THEIRS = json.loads((TASKS / "llama_perplexity.json").read_text())
FIGURES = THEIRS["figures"]
JSONL = TASKS / "choices.jsonl"
WINDOW = repeat((1, 3))
Write = Callable[..., Path]


def test_figures_are_llama_perplexitys(
    request: pytest.FixtureRequest, write: Write, figure: dict[str, Any]
) -> None:
    model: Path = request.getfixturevalue("stories" if "stories" in figure["model"] else "smollm2")
    is_binary = figure["format"] == "multiple-choice"
    file = write(as_multiple_choice(JSONL), "mc.bin") if is_binary else TASKS / figure["file"]
    (found,) = choose(model, file, task_format=figure["format"])
    digits = len(figure["accuracy"].partition(".")[2])
    assert f"{100 * found.accuracy_normalised.value:.{digits}f}" == figure["accuracy"]
    if "scores" in figure:
        scores = [[f"{score:.6f}" for score in one.normalised] for one in found.task_results]
        assert_pinned(scores, figure["scores"])
    if "running_accuracy" in figure:
        right = np.cumsum([a.chosen_normalised == a.answer for a in found.task_results])
        running = [f"{100 * n / k:.8f}" for k, n in enumerate(right, 1)]
        assert running == figure["running_accuracy"]
        assert f"{100 * (found.accuracy_normalised.error or 0):.4f}" == figure["error"]


@pytest.mark.parametrize("drawn", THEIRS["drawn"], ids=lambda drawn: drawn["format"])
def test_the_tasks_drawn_are_llama_perplexitys(
    stories: Path, write: Write, drawn: dict[str, Any]
) -> None:
    is_binary = drawn["format"] == "multiple-choice"
    file = write(as_multiple_choice(JSONL), "mc.bin") if is_binary else TASKS / drawn["file"]
    expected = drawn["running_accuracy"]
    (found,) = choose(stories, file, task_format=drawn["format"], limit=len(expected))
    right = np.cumsum([a.chosen_normalised == a.answer for a in found.task_results])
    digits = len(expected[0].partition(".")[2])
    assert [f"{100 * n / k:.{digits}f}" for k, n in enumerate(right, 1)] == expected


def test_a_limit_that_none_exceeds(stories: Path) -> None:
    whole = choose(stories, JSONL)
    assert choose(stories, JSONL, limit=14) == choose(stories, JSONL, limit=99) == whole
    (some,) = choose(stories, JSONL, limit=13)
    assert len({answer.id for answer in some.task_results}) == 13


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "figure" in metafunc.fixturenames:
        names = [f"{figure['model']}-{figure['format']}" for figure in FIGURES]
        metafunc.parametrize("figure", FIGURES, ids=names)


def test_likelihoods_are_those_of_each_choice_by_itself(stories: Path) -> None:
    """Without any of the packing: a text at a time, and a softmax in double precision."""
    (found,) = choose(stories, JSONL)
    with loaded_model(stories, Devices()) as model, opened_context(model, 256, 256) as ctx:
        for line, answer in zip(JSONL.read_text().splitlines(), found.task_results, strict=True):
            task = json.loads(line)
            for n, choice in enumerate(task["choices"]):
                text = f"{task['question'].rstrip()} {choice}"
                tokens = model.tokenize(text.encode())
                n_question = len(model.tokenize(task["question"].rstrip().encode()))
                ctx.clear()
                logits = np.array(ctx.decode(Batch.of(tokens)), dtype=np.float64)
                logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
                scored = np.arange(n_question, len(tokens))
                expected = logits[scored - 1, tokens[scored]].sum()
                assert answer.log_likelihoods[n] == pytest.approx(expected, abs=1e-3)
                assert answer.normalised[n] == pytest.approx(expected / len(choice), abs=1e-3)
            right, *others = np.roll(answer.log_likelihoods, -answer.answer)
            assert answer.margin == right - max(others)


def test_routed_is_written(stories: Path, tmp_path: Path) -> None:
    patched = tmp_path / "patched.gguf"
    patch(stories, patched, WINDOW)
    plain = LayerPath.identity(5)
    routed, before = choose(stories, JSONL, [WINDOW, plain])
    (written,) = choose(patched, JSONL, [LayerPath.identity(7)])
    assert routed.layer_path == "0..2,1..4"
    assert routed.task_results == written.task_results != before.task_results
    (shared,) = choose(patched, JSONL)
    assert routed.task_results == shared.task_results


def test_a_task_larger_than_a_batch(stories: Path, write: Write) -> None:
    """The one in front and the one behind it have other batches."""
    words = shakespeare().decode().split()
    choices = [" ".join(words[n : n + 300]) for n in (0, 300, 600, 900)]
    task = json.dumps({"question": "Once upon a time", "choices": choices, "answer": 2})
    path = write(f"{task}\n{JSONL.read_text()}{task}".encode(), "long.jsonl")
    (shared,) = choose(stories, path)
    (routed,) = choose(stories, path, [LayerPath.identity(5)])
    assert min(shared.task_results[0].log_likelihoods) < -1000
    assert (
        shared.task_results[0].chosen
        == shared.task_results[-1].chosen
        == routed.task_results[0].chosen
    )
    assert shared.task_results == routed.task_results


def test_winogrande_routes_too(stories: Path) -> None:
    """It reads a row of the other choice."""
    file = TASKS / "winogrande.csv"
    (routed,) = choose(stories, file, [LayerPath.identity(5)], task_format="winogrande")
    (shared,) = choose(stories, file, task_format="winogrande")
    assert routed.task_results == shared.task_results


@pytest.mark.parametrize(
    "name", ["gemma3-dense", "deepseek2-moe", "mamba-dense", "falcon-h1-dense", "jamba-dense"]
)
def test_every_kind_of_cache_serves(tmp_path: Path, name: str) -> None:
    """Sliding windows and compressed KV, shared; recurrent states, which are not."""
    file = expand(ROOT / f"fixtures/arch_headers/{name}.gguf", tmp_path / "model.gguf", 0)
    with loaded_model(file, Devices()) as model:
        tokens = np.random.default_rng(0).integers(0, model.n_vocab, (5, 30), dtype=np.int32)
        tokens[1:, :20] = tokens[0, :20]
        spans = [(20, 30)] * 5
        n_shared = 0 if model.has_state else 20
        assert model.has_state == (name[:5] not in ("gemma", "deeps"))
        task = pack(TaskTokens(list(tokens), spans), n_shared)
        packed = [np.array(rows) for (rows,) in shared_logits(model, [task, task])]
        with opened_context(model, 30, 30) as context:
            for sequence, (rows, targets) in zip(tokens, task.scored, strict=True):
                context.clear()
                alone = np.array(context.decode(Batch.of(sequence)))[19:29]
                assert (targets == sequence[20:]).all()
                for logits in packed:
                    assert np.abs(logits[rows] - alone).max() < 2e-2 * np.abs(alone).max()


@pytest.mark.parametrize("name", ["mamba-dense", "jamba-dense", "gemma3-dense"])
def test_models_with_a_state_share_nothing(tmp_path: Path, name: str) -> None:
    """They answer as along a layer path, where each choice is a sequence of its own."""
    model = expand_named(f"{name}@words=stories260K", tmp_path / "model.gguf")
    (as_it_is,) = choose(model, JSONL)
    (routed,) = choose(model, JSONL, [LayerPath.identity(8)])
    for one, other in zip(as_it_is.task_results, routed.task_results, strict=True):
        assert np.allclose(one.log_likelihoods, other.log_likelihoods, rtol=5e-3)


def test_each_format_has_its_arithmetic() -> None:
    logits = np.full((3, 100_000), -17, dtype=np.float32)
    logits[:, 0] = 0  # exp(-17) vanishes beside 1 in 32 bits
    targets = np.array([5, 6, 7], dtype=np.int32)
    exact = -17 - np.log(1 + 99_999 * np.exp(-17))
    for task_format, expected in (
        (TaskFormat.JSONL, 3 * exact),
        (TaskFormat.HELLASWAG, exact + 2 * -17),
        (TaskFormat.MULTIPLE_CHOICE, exact + 2 * -17),
        (TaskFormat.WINOGRANDE, 3 * -17),
    ):
        assert log_likelihood(logits, targets, task_format) == pytest.approx(expected, abs=5e-6)
    assert normalised(-3.0, "four", 2, TaskFormat.JSONL) == -0.75
    assert normalised(-3.0, "four", 2, TaskFormat.HELLASWAG) == -1.5


def test_errors_of_means_and_of_paired_differences() -> None:
    def result(*margins: float) -> MultipleChoiceResult:
        made = tuple(TaskResult("", 0, (), (), int(m < 0), 0, m) for m in margins)
        accuracy = mean_of([float(m > 0) for m in margins])
        n_tasks, margin = len(made), mean_of(margins)
        return MultipleChoiceResult(None, n_tasks, accuracy, accuracy, margin, made, n_tasks)

    mine, base = result(1.0, 2.0, -1.0, 4.0), result(0.5, -1.0, -2.0, 3.0)
    assert mine.accuracy.value == 0.75
    assert mine.accuracy.error == pytest.approx((0.75 * 0.25 / 3) ** 0.5)
    difference = paired_difference(mine, base)
    assert difference.accuracy.value == 0.25 and difference.accuracy_normalised.value == 0
    assert difference.margin.value == pytest.approx(1.375)
    assert difference.margin.error == pytest.approx(np.std([0.5, 3, 1, 1], ddof=1) / 2)
    assert mean_of([2.0]).error is None


def test_the_program(stories: Path, surgeon: Run) -> None:
    done = surgeon("choose", stories, "--tasks", JSONL, "--window", "1:3", "--details")
    assert done.returncode == 0, done.stderr
    assert "0..2,1..4" in done.stdout and "paired difference" in done.stdout
    assert "\n capital " in done.stdout
    told = json.loads(surgeon("choose", stories, "--tasks", JSONL, "--json").stdout)
    assert told["n_tasks"] == 14 and "answers" not in told and "change" not in told
    compared = json.loads(
        surgeon(
            "choose", stories, "--tasks", JSONL, "--base", stories, "--details", "--json"
        ).stdout
    )
    assert compared["change"]["margin"]["mean"] == 0
    assert compared["answers"][0]["id"] == compared["base"]["answers"][0]["id"] == "bread"


def test_a_task_too_long_for_the_model(stories: Path, write: Write) -> None:
    long = {"question": "word " * 3000, "choices": ["a", "b"], "answer": 0}
    with pytest.raises(UsageError, match=r"task 1 has \d+ tokens, .* trained on contexts of 2048"):
        choose(stories, write(json.dumps(long).encode(), "long.jsonl"))


def test_a_task_as_long_as_the_model_reads(stories: Path, write: Write) -> None:
    def ask(n_words: int) -> None:
        task = {"question": "a " * n_words, "choices": ["b", "c"], "answer": 0}
        choose(stories, write(json.dumps(task).encode(), "task.jsonl"))

    with loaded_model(stories, Devices()) as model:
        n_more = len(model.tokenize(b"a a b")) - len(model.tokenize(b"a b"))
        assert (n_more, len(model.tokenize(b"a " * 2046 + b"b"))) == (1, 2048)
    ask(2046)
    with pytest.raises(UsageError, match="task 1 has 2049 tokens"):
        ask(2047)


def test_choices_without_tokens_of_their_own(stories: Path, write: Write) -> None:
    alike = "Context: a\n0\nsame\nsame\nsame\nsame\n"
    with pytest.raises(UsageError, match=r"task 0: choice 'same' has no distinguishing tokens"):
        choose(stories, write(alike.encode(), "hs.txt"), task_format="hellaswag")


def test_broken_weights_are_named(stories: Path, write: Write) -> None:
    from ggufsurgeon.container.gguf_file import open_gguf

    file = open_gguf(stories)
    names = [tensor.name for tensor in file.header.tensors]
    data = bytearray(stories.read_bytes())
    at = file.offset_in_file(names.index("output_norm.weight"))
    data[at : at + 4] = np.float32("nan").tobytes()
    with pytest.raises(MalformedFileError, match="not finite"):
        choose(write(bytes(data)), JSONL)
