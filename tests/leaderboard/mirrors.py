"""A mirror of the six benchmarks with made-up documents, in the columns of the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ggufsurgeon.leaderboard.harness.benchmarks import benchmarks_of

Rows = Sequence[Mapping[str, Any]]

BBH_TARGETS = {
    "boolean_expressions": ("True", "False"),
    "causal_judgement": ("Yes", "No"),
    "formal_fallacies": ("valid", "invalid"),
    "navigate": ("Yes", "No"),
    "object_counting": ("3", "12"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
"""Right answers of the tasks whose choices are no letters."""


def write_mirror(folder: Path) -> Path:
    """Write a mirror of all six benchmarks into a folder, and return it."""
    write_benchmark(
        folder / "bbh", {(name, "test"): bbh_rows(name) for name in configurations("bbh")}
    )
    write_benchmark(folder / "ifeval", {("default", "train"): ifeval_rows()})
    write_benchmark(folder / "musr", {("default", name): rows for name, rows in musr().items()})
    write_benchmark(
        folder / "mmlu_pro",
        {
            ("default", "test"): mmlu_pro_rows("asked", 4),
            ("default", "validation"): mmlu_pro_rows("shown", 5),
        },
    )
    write_benchmark(folder / "gpqa", {(name, "train"): rows for name, rows in gpqa().items()})
    subjects = configurations("math")
    write_benchmark(folder / "math", {(name, "test"): math_rows(name) for name in subjects})
    return folder


def write_benchmark(folder: Path, splits: Mapping[tuple[str, str], Rows]) -> None:
    """Write a dataset as the hub has it: JSONL files, and a README that names them."""
    folder.mkdir(parents=True)
    lines = ["---", "configs:"]
    for name in dict.fromkeys(name for name, _ in splits):
        lines += [f"- config_name: {name}", "  data_files:"]
        for (other, split), rows in splits.items():
            if other == name:
                file = folder / f"{name}-{split}.jsonl"
                file.write_text("".join(json.dumps(row) + "\n" for row in rows))
                lines += [f"  - split: {split}", f"    path: {file.name}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def configurations(name: str) -> list[str]:
    """The configurations of a dataset that has several."""
    (benchmark,) = benchmarks_of([name])
    return [task.configuration or "" for task in benchmark.tasks]


def bbh_rows(name: str) -> Rows:
    targets = BBH_TARGETS.get(name, ("(A)", "(B)"))
    return [
        {"input": f"Question {n} about {name}, made up.", "target": targets[n % 2]}
        for n in range(3)
    ]


AT_LEAST_TWO = {"let_frequency": 2, "let_relation": "at least"}


def ifeval_rows() -> Rows:
    instructions: list[tuple[str, dict[str, Any]]] = [
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 8}),
        ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 3}),
        ("language:response_language", {"language": "en"}),
        ("keywords:existence", {"keywords": ["marble"]}),
        ("keywords:letter_frequency", {"letter": "m"} | AT_LEAST_TWO),
    ]
    pairs = [(instructions[n], instructions[(n + 1) % 6]) for n in range(6)]
    return [
        {
            "key": n,
            "prompt": f"Write about {n + 2} marbles, made up.",
            "instruction_id_list": [first[0], second[0]],
            "kwargs": [first[1], second[1]],
        }
        for n, (first, second) in enumerate(pairs)
    ]


def rows_with_drawn_letters(n_rows: int) -> Rows:
    """Prompts whose letter the harness draws, as it does for what is no letter."""
    return [
        {
            "key": n,
            "prompt": f"Write about {n} marbles.",
            "instruction_id_list": ["keywords:letter_frequency"],
            "kwargs": [{"letter": "#"} | AT_LEAST_TWO],
        }
        for n in range(n_rows)
    ]


def musr(word: str = "the only one") -> dict[str, Rows]:
    choices = {"murder_mysteries": 2, "object_placements": 4, "team_allocation": 3}
    return {
        name: [
            {
                "narrative": f"A made-up story, {word}, number {n // 2}, of {name}.",
                "question": f"What follows, number {n}?",
                "choices": str([f"choice {c}" for c in range(n_choices)]),
                "answer_index": n % n_choices,
                "answer_choice": f"choice {n % n_choices}",
            }
            for n in range(4)
        ]
        for name, n_choices in choices.items()
    }


def mmlu_pro_rows(word: str, n_rows: int) -> Rows:
    return [
        {
            "question_id": n,
            "question": f"How many marbles are {n} and {n + 1}? ({word})",
            "options": [str(2 * n + k) for k in range(10 - n)],
            "answer": "B",
            "answer_index": 1,
            "category": "marbles",
            "src": "made up",
        }
        for n in range(n_rows)
    ]


def gpqa() -> dict[str, Rows]:
    rows = [
        {
            "Question": f"How many marbles are {n} and 2?",
            "Correct Answer": f"{n + 2}",
            "Incorrect Answer 1": f"{n + 3}",
            "Incorrect Answer 2": f"{n + 4} [title]",
            "Incorrect Answer 3": f"{n + 5}",
        }
        for n in range(8)
    ]
    return {"gpqa_diamond": rows[:3], "gpqa_extended": rows, "gpqa_main": rows[:5]}


def math_rows(subject: str) -> Rows:
    return [
        {
            "problem": f"What is $x$ if ${n + 2}x={n + 5}$? (made up, {subject})",
            "level": "Level 5" if n < 2 else "Level 1",
            "type": subject,
            "solution": f"It is $x=\\boxed{{\\frac{{{n + 5}}}{{{n + 2}}}}}$.",
        }
        for n in range(4)
    ]


def write_sentence_splitter(folder: Path) -> Path:
    """Write an empty model of NLTK's sentence splitter, which splits at . ! and ? alone."""
    language = folder / "tokenizers/punkt_tab/english"
    language.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (language / name).write_text("")
    return folder
