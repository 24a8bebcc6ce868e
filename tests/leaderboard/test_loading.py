"""Tasks are loaded from a mirror, or what is amiss with it is said before any model is loaded."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError
from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARK_NAMES, BENCHMARKS, benchmarks_of
from ggufsurgeon.leaderboard.harness.collecting import collect
from ggufsurgeon.leaderboard.harness.loading import load_tasks
from ggufsurgeon.leaderboard.harness.sources import source_of
from tests.leaderboard.mirrors import gpqa, musr, write_benchmark, write_mirror


def test_documents_are_counted(mirror: Path) -> None:
    tasks = load_tasks(BENCHMARK_NAMES, mirror)
    assert [task.name for task in tasks.tasks] == [
        task.task for benchmark in BENCHMARKS for task in benchmark.tasks
    ]
    counts = {task.name: (task.n_documents, task.n_in_data) for task in tasks.tasks}
    assert counts["leaderboard_bbh_navigate"] == (3, 3)
    assert counts["leaderboard_math_algebra_hard"] == (2, 2)  # of the hardest level
    assert counts["leaderboard_gpqa_extended"] == (8, 8)
    assert not tasks.is_complete
    assert len(tasks.differing_in_number) == len(tasks.tasks)


def test_a_limit_is_of_each_task(mirror: Path) -> None:
    tasks = load_tasks(["gpqa", "mmlu-pro"], mirror, limit=4)
    assert [task.n_documents for task in tasks.tasks] == [3, 4, 4, 4]
    assert [task.n_in_data for task in tasks.tasks] == [3, 8, 5, 4]
    unlimited = set(collect(load_tasks(["gpqa", "mmlu-pro"], mirror)))
    limited = collect(tasks)
    assert set(limited) < unlimited
    assert len([request for request in limited if request.context.endswith("Answer:")]) == 34


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_no_documents_is_refused(limit: int, mirror: Path) -> None:
    with pytest.raises(UsageError, match="the least is 1"):
        load_tasks(["bbh"], mirror, limit=limit)


def test_choices_are_shuffled_as_if_for_the_first_time(tmp_path: Path) -> None:
    """Whatever was drawn before, whichever shuffle the cache of `datasets` holds, and whatever
    other benchmarks are loaded."""
    folder = tmp_path / "mirror"
    write_benchmark(folder / "musr", {("default", name): rows for name, rows in musr().items()})
    write_benchmark(folder / "gpqa", {(name, "train"): rows for name, rows in gpqa().items()})
    load_tasks(["gpqa"], folder)  # the harness imports modules anew: `datasets` tells them apart
    shuffle_into_the_cache(folder)
    random.seed(3)
    for names in (["gpqa"], ["gpqa", "musr"]):
        tasks = load_tasks(names, folder).tasks
        found = [
            choices(document)
            for task in tasks
            if task.benchmark == "gpqa"
            for document in task.task.eval_docs
        ]
        assert found == shuffled_by_hand()
    drawn = random.random()
    random.seed(3)
    assert random.random() == drawn


def choices(document: dict[str, str]) -> list[str]:
    return [document[f"choice{number}"] for number in range(1, 5)]


def shuffled_by_hand() -> list[list[str]]:
    """As the harness does it: diamond, extended, main, with the right answer last before."""
    drawing = random.Random(0)
    found = []
    for name in ("gpqa_diamond", "gpqa_extended", "gpqa_main"):
        for row in gpqa()[name]:
            answers = [row[f"Incorrect Answer {number}"] for number in (1, 2, 3)]
            answers = [
                answer.replace(" [title]", ". ") for answer in (*answers, row["Correct Answer"])
            ]
            drawing.shuffle(answers)
            found.append(answers)
    return found


def shuffle_into_the_cache(folder: Path) -> None:
    """What the harness leaves there when nobody seeds it."""
    import datasets
    from lm_eval.tasks.leaderboard.gpqa.utils import process_docs

    source = source_of(benchmarks_of(["gpqa"])[0], folder)
    shutil.rmtree(source.settings["cache_dir"])
    random.seed(77)
    for name in gpqa():
        loaded = datasets.load_dataset(source.path, name, **source.settings)
        process_docs(loaded["train"])


def test_documents_are_not_those_of_a_like_folder(tmp_path: Path) -> None:
    """`datasets` would take its copy of the first folder, and of the second before its change."""
    first, second = (tmp_path / name / "mirror" for name in ("first", "second"))
    requests = []
    for folder, word in ((first, "one"), (second, "two"), (second, "three")):
        rows = {("default", name): rows for name, rows in musr(word).items()}
        shutil.rmtree(folder, ignore_errors=True)
        write_benchmark(folder / "musr", rows)
        requests.append(collect(load_tasks(["musr"], folder)))
    for found, word in zip(requests, ("one", "two", "three"), strict=True):
        assert all(f"story, {word}," in request.context for request in found)


def test_prompts_and_right_answers_agree(mirror: Path) -> None:
    """They would not, if documents were shuffled anew each time they are read."""
    tasks = load_tasks(["gpqa"], mirror)
    for loaded in tasks.tasks:
        for document, again in zip(loaded.task.eval_docs, loaded.task.eval_docs, strict=True):
            assert document == again
            position = "ABCD".index(document["answer"][1])
            assert document[f"choice{position + 1}"] == document["Correct Answer"]


def remove_folder(mirror: Path) -> None:
    (mirror / "musr").rename(mirror / "elsewhere")


def remove_split(mirror: Path) -> None:
    rewrite(mirror / "musr/README.md", "  - split: team_allocation", "  - split: team")


def remove_file(mirror: Path) -> None:
    (mirror / "musr/default-team_allocation.jsonl").unlink()


def rename_column(mirror: Path) -> None:
    for file in (mirror / "musr").glob("*.jsonl"):
        rewrite(file, '"narrative"', '"story"')


def break_json(mirror: Path) -> None:
    rewrite(mirror / "musr/default-murder_mysteries.jsonl", '{"narrative"', '{"narrative')


def empty_file(mirror: Path) -> None:
    (mirror / "musr/default-murder_mysteries.jsonl").write_text("")


def break_choices(mirror: Path) -> None:
    for file in (mirror / "musr").glob("*.jsonl"):
        rewrite(file, "['choice 0'", "[choice 0")


def remove_readme(mirror: Path) -> None:
    (mirror / "musr/README.md").unlink()


def point_elsewhere(mirror: Path) -> None:
    """As in a clone without Git LFS."""
    lines = ("version https://git-lfs.github.com/spec/v1", "oid sha256:" + 64 * "0", "size 9", "")
    (mirror / "musr/default-murder_mysteries.jsonl").write_text("\n".join(lines))


def file_to_folder(mirror: Path) -> None:
    """Then `datasets` lists some hundred endings of files that it would read."""
    file = mirror / "musr/default-murder_mysteries.jsonl"
    file.unlink()
    file.mkdir()


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [
        (remove_folder, UsageError, "musr: there is no such folder, which musr needs"),
        (remove_split, MalformedFileError, "has no split team_allocation"),
        (remove_file, MalformedFileError, "musr: cannot be read as the documents of musr"),
        (rename_column, MalformedFileError, "has no column narrative, which musr needs"),
        (break_json, MalformedFileError, "musr: cannot be read as the documents of musr"),
        (empty_file, MalformedFileError, "a data file holds no document"),
        (point_elsewhere, UsageError, "murder_mysteries.jsonl: a pointer of Git LFS"),
        (file_to_folder, MalformedFileError, "Unable to find"),
        (break_choices, MalformedFileError, "musr: cannot be read as the documents of musr"),
        (remove_readme, MalformedFileError, "musr"),
    ],
)
def test_what_is_amiss_with_a_mirror_is_said(
    harm: Callable[[Path], None], kind: type[GgufSurgeonError], words: str, tmp_path: Path
) -> None:
    folder = write_mirror(tmp_path / "mirror")
    harm(folder)
    with pytest.raises(kind, match=words) as caught:
        load_tasks(["gpqa", "musr"], folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(folder))
    load_tasks(["gpqa"], folder)


def test_files_that_are_no_documents_do_not_matter(tmp_path: Path) -> None:
    """A pipe would be waited for, and a name may be no text."""
    folder = write_mirror(tmp_path / "mirror")
    os.mkfifo(folder / "musr/pipe")
    (folder / "musr/link").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(folder / "musr") + b"/caf\xe9")).write_text("")
    assert len(load_tasks(["musr"], folder).tasks) == 3


def test_a_configuration_that_is_missing_is_said(tmp_path: Path) -> None:
    rows = gpqa()
    del rows["gpqa_extended"]
    write_benchmark(tmp_path / "gpqa", {(name, "train"): found for name, found in rows.items()})
    with pytest.raises(MalformedFileError, match=r"gpqa \(gpqa_extended\): .*gpqa_extended"):
        load_tasks(["gpqa"], tmp_path)


def test_a_mirror_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder of benchmarks") as caught:
        load_tasks(["bbh"], tmp_path / "missing")
    assert "README.md" in caught.value.hint


def test_a_folder_in_the_working_directory_is_not_taken_for_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` would read it in place of the dataset of that name."""
    (tmp_path / "SaylorTwift/bbh").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="would be taken for the dataset of that name"):
        load_tasks(["bbh"])


def test_importing_the_harness_is_left_until_it_is_needed() -> None:
    code = """
import sys
import ggufsurgeon.leaderboard.harness.loading
import ggufsurgeon.leaderboard.harness.collecting
import ggufsurgeon.leaderboard.harness.scoring
assert not {"lm_eval", "datasets", "nltk"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
