"""The table of benchmarks is that of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.harness.benchmarks import (
    BENCHMARK_NAMES,
    BENCHMARKS,
    Benchmark,
    benchmarks_of,
)
from ggufsurgeon.leaderboard.harness.requirements import HARNESS_VERSION
from tests.conftest import ROOT

GROUPS = {
    "bbh": "leaderboard_bbh",
    "math": "leaderboard_math_hard",
    "gpqa": "leaderboard_gpqa",
    "musr": "leaderboard_musr",
}
"""Of the harness, with the tasks of a benchmark; the others are one task."""


@pytest.fixture(scope="module")
def of_harness() -> Any:
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.tasks.__file__).parent / "leaderboard"
    return TaskManager(include_path=str(folder), include_defaults=False)


def configuration(of_harness: Any, task: str) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    found: dict[str, Any] = load_yaml(of_harness.task_index[task].yaml_path, resolve_func=False)
    return found


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=BENCHMARK_NAMES)
def test_datasets_and_splits_are_those_of_the_harness(
    benchmark: Benchmark, of_harness: Any
) -> None:
    for task in benchmark.tasks:
        found = configuration(of_harness, task.task)
        assert found["dataset_path"] == benchmark.hub_id
        assert found.get("dataset_name") == task.configuration
        assert (found.get("test_split") or found.get("validation_split")) == task.split
        assert found.get("fewshot_split") == benchmark.few_shot_split


@pytest.mark.parametrize("name", GROUPS)
def test_tasks_are_those_of_the_group_in_its_order(name: str, of_harness: Any) -> None:
    (benchmark,) = benchmarks_of([name])
    members = configuration(of_harness, GROUPS[name])["task"]
    assert [task.task for task in benchmark.tasks] == members


def test_all_leaves_of_the_leaderboard_are_there(of_harness: Any) -> None:
    tasks = {task.task for benchmark in BENCHMARKS for task in benchmark.tasks}
    assert tasks == set(of_harness.all_subtasks)


def test_counts_are_those_of_the_leaderboard() -> None:
    """MATH and GPQA: the counts that the published rows fit."""
    sums = {b.name: sum(task.n_documents for task in b.tasks) for b in BENCHMARKS}
    assert sums == {
        "ifeval": 541,
        "bbh": 5761,
        "math": 1324,
        "gpqa": 1192,
        "musr": 756,
        "mmlu-pro": 12032,
    }


def test_the_release_of_the_harness_is_the_one_that_the_extra_installs() -> None:
    assert f"lm-eval[ifeval,math]=={HARNESS_VERSION}" in (ROOT / "pyproject.toml").read_text()


def test_names_come_in_the_order_of_the_leaderboard() -> None:
    assert [b.name for b in benchmarks_of(["musr", "ifeval", "musr"])] == ["ifeval", "musr"]


def test_a_name_that_is_empty_is_shown() -> None:
    with pytest.raises(UsageError, match=r"^'': no benchmark"):
        benchmarks_of(["bbh", ""])


@pytest.mark.parametrize("names", [["arc"], ["bbh", "mmlu_pro"], [""], []])
def test_other_names_are_refused_with_the_names_there_are(names: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        benchmarks_of(names)
    assert "ifeval, bbh, math, gpqa, musr, mmlu-pro" in caught.value.hint
