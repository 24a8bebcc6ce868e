"""Scans by generated answers: the answers are those of `generate` along the path."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.api.reports.scan_reports import scanned_path
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import UsageError
from ggufsurgeon.inference.contexts import ContextSettings
from ggufsurgeon.inference.requests import RequestKind
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.jobs.job import Scored
from ggufsurgeon.scanning.probes.answers import Question
from ggufsurgeon.scanning.probes.arithmetic import EXAMPLES
from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe
from ggufsurgeon.scanning.probes.text import TextProbe
from ggufsurgeon.scanning.scan import ScanSize
from tests.models.builders import with_text
from tests.models.expanding import expand_named

ONE_THREAD = Devices(n_threads=1)
IDENTITY = LayerPath("0..4")
PATHS = [LayerPath("0..2,1..4"), LayerPath("0..1,3..4"), LayerPath("0..3")]
PROMPTS = [f"{who} saw a big {what} and" for who in ("Tom", "Lily", "A cat") for what in ("dog",)]
PROMPTS += [f"One day, {who} {did}" for who in ("Tim", "Sue", "Ben") for did in ("ran", "sat")]
N_TOKENS = 12
SERIES = """SELECT layer_path, item, score FROM item_score JOIN probe ON probe.id = probe
WHERE name = ? ORDER BY layer_path, item"""


@dataclass(frozen=True)
class Words:
    """The number of letters of an answer; only those with an e can be parsed."""

    is_chat: bool = False
    fault: str = ""

    name = "words"
    unit = "letters"
    score_of_unparsed = -7.0

    def settings(self) -> dict[str, Any]:
        if self.fault == "settings":
            raise RuntimeError("no settings")
        return {}

    def questions(self) -> Sequence[Question]:
        if self.fault == "questions":
            raise RuntimeError("out of ideas")
        n_tokens = {"none": 0, "long": 5000}.get(self.fault, N_TOKENS)
        said = {one: one.replace("ran", "sat") if self.fault == "sat" else one for one in PROMPTS}
        found = [Question(*pair, n_tokens, self.is_chat) for pair in said.items()]
        return found[:1] if self.fault == "few" else found

    def score(self, index: int, answer: str) -> float | None:
        if self.fault == "score" and index == 2:
            raise ZeroDivisionError("by hand")
        return float(len(answer) + 100 * index) if "e" in answer else None

    def constant_score(self) -> float | None:
        if self.fault == "constant":
            raise RuntimeError("inconstant")
        return 0.25


def series(store: Path, name: str = "words") -> dict[str, list[float | None]]:
    """The scores of a probe, by layer path."""
    found: dict[str, list[float | None]] = {}
    with closing(sqlite3.connect(store)) as database:
        for path, _, score in database.execute(SERIES, (name,)):
            found.setdefault(path, []).append(score)
    return found


def scan(model: Path, store: Path, probe: Any, paths: Sequence[Any], **options: Any) -> None:
    with gs.load(model, ONE_THREAD) as loaded:
        loaded.scan(store, probe, paths, **options)


@pytest.fixture(scope="module")
def store(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "scan.db"
    scan(stories, path, Words(), PATHS)
    return path


def test_scores_are_those_of_what_generate_writes_along_the_path(
    store: Path, stories: Path
) -> None:
    """And which answers could be parsed is a probe of its own."""
    scores, parsed = series(store), series(store, "words parsed")
    assert len(PROMPTS) > 8 and set(scores) == {str(path) for path in [IDENTITY, *PATHS]}
    with gs.load(stories, ONE_THREAD) as model:
        for path in [IDENTITY, *PATHS]:
            texts = [model.generate(one, path, max_tokens=N_TOKENS).text for one in PROMPTS]
            found = [Words().score(index, text) for index, text in enumerate(texts)]
            assert scores[str(path)] == [-7.0 if one is None else one for one in found]
            assert parsed[str(path)] == [float(one is not None) for one in found]
    assert {1.0, 0.0} == {value for values in parsed.values() for value in values}


def test_findings_of_scores_and_of_the_share_of_parsed_answers(store: Path, stories: Path) -> None:
    (found,) = gs.scan_findings(store)
    assert [(one.probe, one.unit) for one in found.probes] == [
        ("words", "letters"),
        ("words parsed", "share of answers"),
    ]
    for probe in found.probes:
        assert probe.item_labels == tuple(PROMPTS)
        assert all(path.z is not None for path in probe.paths)
    assert str(scanned_path(store, stories, rank=1)) == found.probes[0].paths[0].layer_path
    named = scanned_path(store, stories, probe="words parsed", rank=1)
    assert str(named) == found.probes[1].paths[0].layer_path


def test_the_same_scan_anew_gives_the_same(store: Path, stories: Path, tmp_path: Path) -> None:
    scan(stories, tmp_path / "again.db", Words(), PATHS)
    for name in ("words", "words parsed"):
        assert series(tmp_path / "again.db", name) == series(store, name)


def test_an_interrupted_scan_goes_on_where_it_was(
    store: Path, stories: Path, tmp_path: Path
) -> None:
    part, ran, sizes = tmp_path / "part.db", list[Scored](), list[ScanSize]()

    def stop(scored: Scored) -> None:
        ran.append(scored)
        if len(ran) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(stories, part, Words(), PATHS, on_result=stop)
    scan(stories, part, Words(), PATHS, on_result=ran.append, on_size=sizes.append)
    assert (sizes[0].n_known, sizes[0].n_passes, len(ran)) == (3, 5, 8)
    for name in ("words", "words parsed"):
        assert series(part, name) == series(store, name)


def test_a_scan_that_died_between_both_series_goes_on(
    store: Path, stories: Path, tmp_path: Path
) -> None:
    """What could be parsed is kept first: what has scores has both."""
    part = tmp_path / "part.db"
    part.write_bytes(store.read_bytes())
    with closing(sqlite3.connect(part)) as database, database:
        deleted = database.execute(
            "DELETE FROM item_score WHERE item < 8 AND layer_path = '0..3' AND probe IN "
            "(SELECT id FROM probe WHERE name = 'words')"
        )
        assert deleted.rowcount == 8
    scan(stories, part, Words(), PATHS)
    assert series(part) == series(store)
    assert series(part, "words parsed") == series(store, "words parsed")


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }} says {{ m.content }}\n{% endfor %}"
    "{{ strftime_now('%Y') }} {% if enable_thinking %}deeply{% endif %}"
)


def test_chat_questions_go_through_the_template(stories: Path, tmp_path: Path) -> None:
    """As chat completions do; but they tell the same date on every day."""
    model = tmp_path / "model.gguf"
    year = "{{ strftime_now('%Y') }}"
    template = TEMPLATE.replace(year, "2024" + "{#".ljust(len(year) - 6) + "#}")  # as long
    paths = PATHS[:1]
    model.write_bytes(with_text(stories.read_bytes(), "tokenizer.chat_template", template))
    dated = tmp_path / "dated.gguf"
    dated.write_bytes(with_text(stories.read_bytes(), "tokenizer.chat_template", TEMPLATE))
    scan(model, tmp_path / "scan.db", Words(is_chat=True), paths)
    scan(dated, tmp_path / "dated.db", Words(is_chat=True), paths)
    found = series(tmp_path / "scan.db")
    assert found == series(tmp_path / "dated.db")
    settings = ContextSettings(n_ctx=256)
    with gs.load(model, ONE_THREAD) as loaded:
        for path in [IDENTITY, *paths]:
            for index, prompt in enumerate(PROMPTS[:3]):
                asked = {"messages": [{"role": "user", "content": prompt}], "temperature": 0}
                response = loaded.request(
                    RequestKind.CHAT,
                    {**asked, "max_tokens": N_TOKENS, "repeat_penalty": 1},
                    path,
                    settings=settings,
                )
                assert response is not None
                score = Words().score(index, response["choices"][0]["message"]["content"])
                assert found[str(path)][index] == (-7.0 if score is None else score)


def test_the_same_labels_in_other_tokens_are_another_probe(stories: Path, tmp_path: Path) -> None:
    for fault in ("", "sat"):
        scan(stories, tmp_path / "scan.db", Words(fault=fault), [])
    (found,) = gs.scan_findings(tmp_path / "scan.db")
    names = ["words", "words parsed", "words 2", "words parsed 2"]
    assert [one.probe for one in found.probes] == names
    assert found.probes[0].item_labels == found.probes[2].item_labels
    assert found.probes[0].item_bases != found.probes[2].item_bases


def test_chat_questions_without_a_template_are_asked_as_they_are(
    store: Path, stories: Path, tmp_path: Path
) -> None:
    scan(stories, tmp_path / "scan.db", Words(is_chat=True), PATHS[:1])
    expected = series(store)
    for path, scores in series(tmp_path / "scan.db").items():
        assert scores == expected[path]


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ raise_exception('no') }}", "{{ 1 + 'a' }}", "{{ '\\ud800' }}"]
)
def test_a_chat_template_that_fails(stories: Path, tmp_path: Path, template: str) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(with_text(stories.read_bytes(), "tokenizer.chat_template", template))
    with pytest.raises(UsageError, match=r"chat template of .* (cannot be used|refuses)"):
        scan(model, tmp_path / "scan.db", Words(is_chat=True), PATHS)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("questions", "probe words failed: RuntimeError: out of ideas"),
        ("score", "probe words failed on question 'A cat saw a big dog and' along 0..4: Zero"),
        ("settings", "probe words failed: RuntimeError: no settings"),
        ("constant", "probe words failed: RuntimeError: inconstant"),
        ("few", "1 questions; at least 2 are needed"),
        ("none", "asks for an answer of none"),
        ("long", "trained on contexts of 2048"),
    ],
)
def test_a_probe_that_fails_is_named(stories: Path, tmp_path: Path, fault: str, says: str) -> None:
    with gs.load(stories, ONE_THREAD) as model:
        with pytest.raises(UsageError, match=says):
            model.scan(tmp_path / "scan.db", Words(fault=fault), PATHS)
        model.scan(tmp_path / "scan.db", TextProbe(b"Once upon a time. " * 60, 64, 3), PATHS)


def test_a_path_whose_logits_are_no_numbers(stories: Path, tmp_path: Path) -> None:
    """Only the path without the broken block has scores."""
    file = open_gguf(stories)
    names = [tensor.name for tensor in file.header.tensors]
    at = file.offset_in_file(names.index("blk.4.ffn_norm.weight"))
    data = bytearray(stories.read_bytes())
    data[at : at + 4] = np.float32("nan").tobytes()
    (tmp_path / "model.gguf").write_bytes(data)
    scan(tmp_path / "model.gguf", tmp_path / "scan.db", Words(), [PATHS[0], LayerPath("0..3")])
    for name in ("words", "words parsed"):
        found = series(tmp_path / "scan.db", name)
        assert set(found["0..4"]) == set(found[str(PATHS[0])]) == {None}
        assert None not in found["0..3"]


def test_paths_that_cannot_be_aliased_are_routed(tmp_path: Path) -> None:
    """minimax-01 has no file for a path that moves its blocks."""
    model = expand_named("minimax-01-moe@words=stories260K", tmp_path / "model.gguf")
    path = gs.repeat("1:2")
    sizes: list[ScanSize] = []
    scan(model, tmp_path / "scan.db", Words(), [path], on_size=sizes.append)
    assert sizes[0].not_writable.n_paths == 1
    with gs.load(model, ONE_THREAD) as loaded:
        texts = [loaded.generate(one, path, max_tokens=N_TOKENS) for one in PROMPTS]
    assert {one.execution for one in texts} == {"routed"}
    found = [Words().score(index, one.text) for index, one in enumerate(texts)]
    scores = series(tmp_path / "scan.db")[texts[0].layer_path]
    assert scores == [-7.0 if one is None else one for one in found]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (" {}", 1.0),
        (" {}\n12 + 7 = 3", 1.0),
        ("The sum is {}.", 1.0),
        ("12 or {}", 0.0),
        (" -{}", 0.0),
        (" {}0", 0.0),
        (" a few", None),
        ("", None),
    ],
)
def test_the_first_integer_of_an_answer_counts(answer: str, score: float | None) -> None:
    probe = ArithmeticAnswerProbe(30, seed=3)
    for index, question in enumerate(probe.questions()):
        problem, result = question.label.rsplit(" ", 1)
        assert question.prompt == f"{EXAMPLES}{problem}" and not question.is_chat
        if result != "12":
            assert probe.score(index, answer.format(result)) == score
        if len(result) == 4:
            assert probe.score(index, f"It is {int(result):,}, or so") == 1.0
    assert probe.score_of_unparsed == 0


def test_no_constant_number_scores_higher_than_is_told() -> None:
    probe = ArithmeticAnswerProbe(60, seed=5)
    totals = [
        sum(probe.score(index, str(number)) or 0.0 for index in range(60)) for number in range(9802)
    ]
    assert probe.constant_score() == max(totals) / 60 > 1 / 60


@pytest.mark.slow
def test_arithmetic_answers_of_a_model_that_has_learned_some(smollm2: Path, tmp_path: Path) -> None:
    probe = ArithmeticAnswerProbe(4)
    scan(smollm2, tmp_path / "scan.db", probe, [])
    with gs.load(smollm2, ONE_THREAD) as model:
        texts = [model.generate(one.prompt, max_tokens=8).text for one in probe.questions()]
    (found,) = series(tmp_path / "scan.db", "answers").values()
    assert found == [probe.score(index, text) or 0.0 for index, text in enumerate(texts)]
    (parsed,) = series(tmp_path / "scan.db", "answers parsed").values()
    assert parsed == [1.0] * 4
