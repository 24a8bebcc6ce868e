"""The six benchmarks of the Open LLM Leaderboard, and where their documents are.

Names, configurations and splits are those of lm-evaluation-harness 0.4.13
(lm_eval/tasks/leaderboard). Counts are those of the documents that the leaderboard evaluated,
21,606 in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ggufsurgeon.errors import UsageError


class TaskData(NamedTuple):
    """Where the documents of a task of the harness are in the dataset of its benchmark."""

    task: str
    """The harness' name."""
    configuration: str | None
    """The dataset's configuration (`dataset_name` in the harness); None for its only one."""
    split: str
    """The split whose documents are evaluated."""
    n_documents: int
    """Documents that the leaderboard evaluated."""


class Benchmark(NamedTuple):
    """A benchmark: tasks of the harness over one dataset."""

    name: str
    folder: str
    """The name of its folder in a mirror."""
    hub_id: str
    """The dataset on the Hugging Face Hub, as the harness names it."""
    columns: tuple[str, ...]
    """Columns that prompts and scores are made of."""
    tasks: tuple[TaskData, ...]
    few_shot_split: str | None = None
    """The split of few-shot examples, where they come from the dataset."""

    @property
    def n_configurations(self) -> int:
        """Parts of the dataset that are loaded one by one."""
        return len({task.configuration for task in self.tasks})


_BBH = {
    "boolean_expressions": 250,
    "causal_judgement": 187,
    "date_understanding": 250,
    "disambiguation_qa": 250,
    "formal_fallacies": 250,
    "geometric_shapes": 250,
    "hyperbaton": 250,
    "logical_deduction_five_objects": 250,
    "logical_deduction_seven_objects": 250,
    "logical_deduction_three_objects": 250,
    "movie_recommendation": 250,
    "navigate": 250,
    "object_counting": 250,
    "penguins_in_a_table": 146,
    "reasoning_about_colored_objects": 250,
    "ruin_names": 250,
    "salient_translation_error_detection": 250,
    "snarks": 178,
    "sports_understanding": 250,
    "temporal_sequences": 250,
    "tracking_shuffled_objects_five_objects": 250,
    "tracking_shuffled_objects_seven_objects": 250,
    "tracking_shuffled_objects_three_objects": 250,
    "web_of_lies": 250,
}
_MATH = {
    "algebra": ("algebra", 307),
    "counting_and_prob": ("counting_and_probability", 123),
    "geometry": ("geometry", 132),
    "intermediate_algebra": ("intermediate_algebra", 280),
    "num_theory": ("number_theory", 154),
    "prealgebra": ("prealgebra", 193),
    "precalculus": ("precalculus", 135),
}

BENCHMARKS = (
    Benchmark(
        "ifeval",
        "ifeval",
        "wis-k/instruction-following-eval",
        ("key", "prompt", "instruction_id_list", "kwargs"),
        (TaskData("leaderboard_ifeval", None, "train", 541),),
    ),
    Benchmark(
        "bbh",
        "bbh",
        "SaylorTwift/bbh",
        ("input", "target"),
        tuple(TaskData(f"leaderboard_bbh_{name}", name, "test", n) for name, n in _BBH.items()),
    ),
    Benchmark(
        "math",
        "math",
        "DigitalLearningGmbH/MATH-lighteval",
        ("problem", "level", "solution"),
        tuple(
            TaskData(f"leaderboard_math_{name}_hard", configuration, "test", n)
            for name, (configuration, n) in _MATH.items()
        ),
    ),
    Benchmark(
        "gpqa",
        "gpqa",
        "Idavidrein/gpqa",
        (
            "Question",
            "Correct Answer",
            "Incorrect Answer 1",
            "Incorrect Answer 2",
            "Incorrect Answer 3",
        ),
        tuple(  # the order in which the harness shuffles their choices
            TaskData(f"leaderboard_{name}", name, "train", n)
            for name, n in (("gpqa_diamond", 198), ("gpqa_extended", 546), ("gpqa_main", 448))
        ),
    ),
    Benchmark(
        "musr",
        "musr",
        "TAUR-Lab/MuSR",
        ("narrative", "question", "choices", "answer_choice"),
        tuple(
            TaskData(f"leaderboard_musr_{name}", None, name, n)
            for name, n in (
                ("murder_mysteries", 250),
                ("object_placements", 256),
                ("team_allocation", 250),
            )
        ),
    ),
    Benchmark(
        "mmlu-pro",
        "mmlu_pro",
        "TIGER-Lab/MMLU-Pro",
        ("question", "options", "answer"),
        (TaskData("leaderboard_mmlu_pro", None, "test", 12032),),
        few_shot_split="validation",
    ),
)
"""In the order of the leaderboard's columns."""
BENCHMARK_NAMES = tuple(benchmark.name for benchmark in BENCHMARKS)


def benchmarks_of(names: Sequence[str]) -> tuple[Benchmark, ...]:
    """The benchmarks of some names, in the leaderboard's order, each once.

    Raises UsageError for a name that is none, and for no name.
    """
    unknown = [name for name in names if name not in BENCHMARK_NAMES]
    if unknown:
        raise UsageError(
            f"{', '.join(name or repr(name) for name in unknown)}: no benchmark of the leaderboard",
            hint=f"The benchmarks are {', '.join(BENCHMARK_NAMES)}.",
        )
    if not names:
        raise UsageError(
            "no benchmark is named", hint=f"The benchmarks are {', '.join(BENCHMARK_NAMES)}."
        )
    return tuple(benchmark for benchmark in BENCHMARKS if benchmark.name in names)
