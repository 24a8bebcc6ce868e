"""Scores of made-up documents, by the counts of right answers or one by one."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.leaderboard.documents import DocumentKey, DocumentScore, TaskScore

BBH_CHOICES = {
    **dict.fromkeys(("boolean_expressions", "causal_judgement", "formal_fallacies"), 2),
    **dict.fromkeys(("hyperbaton", "navigate", "snarks", "sports_understanding"), 2),
    **{"web_of_lies": 2, "disambiguation_qa": 3, "logical_deduction_three_objects": 3},
    **{"tracking_shuffled_objects_three_objects": 3, "temporal_sequences": 4},
    **{"logical_deduction_five_objects": 5, "penguins_in_a_table": 5},
    **{"tracking_shuffled_objects_five_objects": 5, "date_understanding": 6},
    **dict.fromkeys(("movie_recommendation", "ruin_names"), 6),
    **{"salient_translation_error_detection": 6, "logical_deduction_seven_objects": 7},
    **{"tracking_shuffled_objects_seven_objects": 7, "geometric_shapes": 11},
    **{"reasoning_about_colored_objects": 18, "object_counting": 19},
}
"""Choices of the 24 tasks of lm-evaluation-harness."""
BBH_DOCUMENTS = dict.fromkeys(BBH_CHOICES, 250) | {
    "causal_judgement": 187,
    "penguins_in_a_table": 146,
    "snarks": 178,
}


def document(
    number: int,
    values: dict[str, tuple[float, ...]],
    cluster: str | None = None,
    n_choices: int | None = None,
) -> DocumentScore:
    key = DocumentKey(number, f"document {number}", f"prompt {number}", f"target {number}")
    return DocumentScore(key, cluster or str(number), n_choices, values)


def task(
    name: str,
    values: Sequence[float],
    *metrics: str,
    clusters: Sequence[str] | None = None,
    n_choices: int | None = None,
) -> TaskScore:
    """A task whose documents have one value each, the same by all metrics."""
    documents = tuple(
        document(
            number,
            {metric: (float(value),) for metric in metrics or ("acc_norm",)},
            clusters[number] if clusters else None,
            n_choices,
        )
        for number, value in enumerate(values)
    )
    return TaskScore(f"leaderboard_{name}", "1", {}, documents)


def right(n_right: int, n_documents: int) -> list[float]:
    """As many right answers, and then wrong ones."""
    return [1.0] * n_right + [0.0] * (n_documents - n_right)


def ifeval(n_prompts: int, n_instructions: int, n_right: tuple[int, int]) -> TaskScore:
    """Prompts with an instruction each but the last, which has all others; counts of right ones."""
    instructions = right(n_right[1], n_instructions)
    given = [tuple(instructions[n : n + 1]) for n in range(n_prompts - 1)]
    given.append(tuple(instructions[n_prompts - 1 :]))
    prompts = right(n_right[0], n_prompts)
    documents = tuple(
        document(
            number,
            {"prompt_level_strict_acc": (prompt,), "inst_level_strict_acc": own},
        )
        for number, (prompt, own) in enumerate(zip(prompts, given, strict=True))
    )
    return TaskScore("leaderboard_ifeval", "3.0", {}, documents)
