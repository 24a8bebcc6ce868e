"""`lm_eval.simple_evaluate` over loaded models: any of its tasks, along any path."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.prompting import PLAIN
from ggufsurgeon.leaderboard.requests import (
    EvaluationRequest,
    GenerationAnswer,
    LikelihoodAnswer,
    LikelihoodRequest,
)
from tests.leaderboard.mirrors import write_benchmark

pytest.importorskip("llama_cpp", reason="needs the llama extra")

CHOOSING = """
task: stories_choices
output_type: multiple_choice
dataset_path: {folder}
dataset_name: default
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: 0
metric_list:
  - metric: acc
  - metric: acc_norm
"""
WRITING = """
task: stories_texts
output_type: generate_until
dataset_path: {folder}
dataset_name: default
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{ending}}}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 12
metric_list:
  - metric: exact_match
"""
ROWS = [
    {"prompt": "Once upon a time, there was a little", "choices": ["girl", "stone"], "ending": ""},
    {"prompt": "The sun was", "choices": ["shining", "asleep and"], "ending": ""},
    {"prompt": "Lily and Tom liked to play in the", "choices": ["park", "moon"], "ending": ""},
]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tasks of the harness that are our own."""
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("own") / "stories"
    write_benchmark(folder, {("default", "test"): ROWS})
    for name, text in (("choosing", CHOOSING), ("writing", WRITING)):
        (folder.parent / f"{name}.yaml").write_text(text.format(folder=folder))
    return TaskManager(include_path=str(folder.parent), include_defaults=False)


@pytest.fixture(scope="module")
def loaded(stories: Path) -> Iterator[gs.LoadedModel]:
    with gs.load(stories) as model:
        yield model


def evaluated(model: Any, manager: Any, **settings: Any) -> dict[str, Any]:
    import lm_eval

    results: dict[str, Any] = lm_eval.simple_evaluate(
        model=model,
        tasks=["stories_choices", "stories_texts"],
        task_manager=manager,
        bootstrap_iters=0,
        **settings,
    )
    return results


def answers_of(results: dict[str, Any], task: str) -> list[Any]:
    return [sample["filtered_resps"] for sample in results["samples"][task]]


@pytest.mark.parametrize("path", [None, gs.repeat("1:3")], ids=["as it is", "repeated"])
def test_answers_are_those_of_choices_and_texts_by_themselves(
    path: gs.LayerPath | None, loaded: gs.LoadedModel, manager: Any
) -> None:
    """Each choice scored alone, and each text generated alone."""
    results = evaluated(gs.evaluation_model(loaded, path), manager)
    likelihoods = answers_of(results, "stories_choices")
    texts = answers_of(results, "stories_texts")
    for row, found, (text,) in zip(ROWS, likelihoods, texts, strict=True):
        for choice, (log_likelihood, _) in zip(row["choices"], found, strict=True):
            asked = LikelihoodRequest(str(row["prompt"]), f" {choice}")
            (alone,) = loaded.answer([asked], path).values()
            assert isinstance(alone, LikelihoodAnswer)
            assert log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-3)
        generated = loaded.generate(str(row["prompt"]), path, max_tokens=12).text
        assert text == generated.split(".")[0].lstrip()  # as transformers decodes this vocabulary
    assert results["results"]["stories_choices"]["acc,none"] == 1.0
    where = "" if path is None else " along 0..2,1..4"
    assert results["config"]["model_name"] == f"stories260K.gguf{where}"


def test_a_path_changes_the_answers(loaded: gs.LoadedModel, manager: Any) -> None:
    as_it_is = evaluated(gs.evaluation_model(loaded), manager)
    shortened = evaluated(gs.evaluation_model(loaded, gs.drop("1:4")), manager)
    for task in ("stories_choices", "stories_texts"):
        assert answers_of(as_it_is, task) != answers_of(shortened, task)


def test_a_model_without_a_chat_template_is_told_apart(
    loaded: gs.LoadedModel, manager: Any
) -> None:
    with pytest.raises(UsageError, match="has no chat template"):
        evaluated(gs.evaluation_model(loaded), manager, apply_chat_template=True)


def test_the_chat_template_makes_the_prompts(smollm2: Path, manager: Any) -> None:
    with gs.load(smollm2) as model:
        results = evaluated(
            gs.evaluation_model(model, n_ctx=256), manager, limit=1, apply_chat_template=True
        )
    ((prompt, continuation), _) = results["samples"]["stories_choices"][0]["arguments"]
    assert "<|im_start|>user\nOnce upon a time, there was a little<|im_end|>" in prompt
    assert prompt.endswith("<|im_start|>assistant\n") and continuation == "girl"


def test_a_path_that_does_not_fit_is_said_at_once(loaded: gs.LoadedModel) -> None:
    with pytest.raises(UsageError):
        gs.evaluation_model(loaded, gs.repeat("1:9"))


def test_whole_texts_are_refused(loaded: gs.LoadedModel) -> None:
    with pytest.raises(UsageError, match="whole texts"):
        gs.evaluation_model(loaded).loglikelihood_rolling([])


@pytest.mark.parametrize("kind", ["choices", "texts"])
def test_what_is_not_finite_is_an_error(kind: str, manager: Any) -> None:
    """The harness would score by where NaN stands among the choices."""
    from ggufsurgeon.errors import NotFiniteError
    from ggufsurgeon.leaderboard.harness.evaluation_model import EvaluationModel

    def answer_all(requests: Any) -> dict[EvaluationRequest, Any]:
        likelihood = LikelihoodAnswer(float("nan") if kind == "choices" else -1.0, False, 0)
        text = GenerationAnswer(None if kind == "texts" else "", 1, False, 0)
        return {
            request: likelihood if isinstance(request, LikelihoodRequest) else text
            for request in requests
        }

    with pytest.raises(NotFiniteError, match="broken"):
        evaluated(EvaluationModel("broken", answer_all, PLAIN, lambda: ""), manager)


def test_the_harness_is_missed_with_the_way_to_install_it(stories: Path, tmp_path: Path) -> None:
    (tmp_path / "lm_eval.py").write_text("raise ImportError('No module named lm_eval')\n")
    code = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
import ggufsurgeon as gs
try:
    gs.evaluation_model(gs.load({str(stories)!r}))
except gs.GgufSurgeonError as error:
    print(json.dumps([error.exit_code, error.hint]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [8, "pip install 'ggufsurgeon[leaderboard]'"]
