"""Probes on the command line: those of installed packages, by their entry points, and RYS's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe
from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run

PACKAGE = '''
from dataclasses import dataclass

import numpy as np

from ggufsurgeon.scanning.probes.answers import Question
from ggufsurgeon.scanning.probes.probe import Item, TokenSequence


@dataclass(frozen=True)
class Spelling:
    """The log-probability of each word of a text behind a beginning."""

    text: str
    name = "spelling"
    unit = "nats"

    def settings(self):
        return {}

    def items(self, model):
        return [
            Item(word, (TokenSequence(model.tokenize(f"Once {word}".encode()), 2),))
            for word in self.text.split()
        ]

    def score(self, index, log_probs):
        return float(log_probs[0].sum())


@dataclass(frozen=True)
class Dogs:
    """Whether a story with this beginning has a dog in it."""

    text: str
    name = "dogs"
    unit = "share of stories"
    score_of_unparsed = 0.0

    def settings(self):
        return {}

    def questions(self):
        return [Question(f"{n}", f"{who} {self.text}", 16) for n, who in enumerate(("Tom", "Sue"))]

    def score(self, index, answer):
        return float("dog" in answer) if answer else None

    def constant_score(self):
        return 1.0


def failing(text):
    raise LookupError(f"there is no {text}")


def empty(text):
    return object()


def local(text):
    class Local(Dogs):
        pass

    return Local(text)
'''
ENTRY_POINTS = """[ggufsurgeon.probes]
spelling = example_probes:Spelling
dogs = example_probes:Dogs
failing = example_probes:failing
empty = example_probes:empty
local = example_probes:local
gone = example_probes:nothing
twice = example_probes:Dogs
"""
PATH = "0..2,1..4"


def install(folder: Path, name: str, entry_points: str, code: str = "") -> None:
    """A package as pip lays it out."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "example_probes", ENTRY_POINTS, PACKAGE)
    install(folder, "other_probes", "[ggufsurgeon.probes]\ntwice = other_probes:probe\n")
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_probes_of_an_installed_package(
    surgeon: Run, stories: Path, environment: dict[str, str]
) -> None:
    probes = ["--probe", "dogs=saw a big dog. The", "--probe", "spelling=upon time=2 little"]
    options = ["--store", "scan.db", "--layers", PATH, "--threads", "1"]
    done = surgeon("scan", stories, *options, *probes, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    found = {(one["probe"], one["layer_path"]): one for one in lines(done.stdout)}
    assert set(found) == {(name, path) for name in ("dogs", "spelling") for path in ("0..4", PATH)}
    assert set(found["dogs", PATH]["scores"]) <= {0.0, 1.0}
    assert found["dogs", PATH]["parsed"] == [1.0, 1.0]
    assert len(found["spelling", PATH]["scores"]) == 3 and "parsed" not in found["spelling", PATH]
    assert "dogs: a constant answer would score 1.00" in done.stderr
    assert "spelling: a constant answer" not in done.stderr
    report = surgeon("report", "scan.db", "--json", env=environment)
    (model,) = json.loads(report.stdout)["models"]
    assert [one["probe"] for one in model["probes"]] == ["dogs", "dogs parsed", "spelling"]


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        ("dog=x", "no probe has this name: dog"),
        ("dogs", "--probe dogs: expected NAME=TEXT"),
        ("=x", "--probe =x: expected NAME=TEXT"),
        (
            "failing=cat",
            "(example_probes:failing) failed: LookupError: there is no cat",
        ),
        ("gone=x", "probe gone (example_probes:nothing) failed: AttributeError"),
        ("empty=x", "gave a value of type object, which lacks what a Probe or an AnswerProbe has"),
        ("local=x", "probe local (example_probes:local) failed: "),
        ("twice=x", "several packages have one of this name: example_probes:Dogs, other_probes:pr"),
    ],
)
def test_probes_that_cannot_be_had(
    surgeon: Run, stories: Path, environment: dict[str, str], probe: str, says: str
) -> None:
    done = surgeon("scan", stories, "--store", "scan.db", "--probe", probe, env=environment)
    assert_told(done, 2, says)
    if probe == "dog=x":
        names = "dogs, empty, failing, gone, local, spelling, twice"
        assert f"The installed probes are {names}." in done.stderr


def test_answers_on_the_command_line(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    asked = [{"question": f"{n}? ", "answer": n} for n in (50, 7000)]
    (tmp_path / "math.json").write_text(json.dumps(asked))
    rated = [{"prompt": f"Rate {n}.", "reference": [n, n, n, n]} for n in (2, 4)]
    (tmp_path / "eq.json").write_text(json.dumps(rated))
    probes = ["--answers", "4", "--seed", "9", "--rys-math", "math.json", "--rys-eq", "eq.json"]
    options = ["--store", "scan.db", "--layers", PATH, "--threads", "1"]
    done = surgeon("scan", stories, *options, *probes, "--json")
    assert done.returncode == 0, done.stderr
    names = [one["probe"] for one in lines(done.stdout)]
    assert names == ["answers", "answers", "rys-math", "rys-math", "rys-eq", "rys-eq"]
    constant = ArithmeticAnswerProbe(4, seed=9).constant_score()
    for name, score in (("answers", constant), ("rys-math", 15 / 16), ("rys-eq", 0.8 * 0.9 + 0.1)):
        assert f"{name}: a constant answer would score {score:.2f}\n" in done.stderr
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    problems = [one.label for one in ArithmeticAnswerProbe(4, seed=9).questions()]
    labels = {one.probe: list(one.item_labels) for one in found.probes}
    assert labels["answers"] == problems and labels["rys-eq parsed"] == ["1", "2"]
    again = surgeon("scan", stories, *options, *probes, "--json")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_broken_file_of_questions_is_named(surgeon: Run, stories: Path, tmp_path: Path) -> None:
    (tmp_path / "eq.json").write_text('[{"prompt": "x", "reference": [1]}]')
    done = surgeon("scan", stories, "--store", "scan.db", "--rys-eq", "eq.json")
    assert_told(done, 2, "eq.json, entry 1: reference: expected four numbers")
    assert not (tmp_path / "scan.db").exists()
