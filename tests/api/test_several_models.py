"""A model that is loaded beside others: each answer along a path over all is the written file's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.inference.contexts import ContextSettings
from ggufsurgeon.inference.requests import RequestKind
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.leaderboard.requests import LikelihoodRequest
from ggufsurgeon.multiple_choice.tasks import Task
from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
from tests.models.fine_tunes import fine_tune, requantize

ONE_THREAD = gs.Devices(n_threads=1)
PATH = LayerPath("0..2,1:2..4")
TEXT = b"Once upon a time there was a little dog. It liked to play in the park. " * 40
SETTINGS = gs.TextSettings(n_ctx=64, n_chunks=4)
PROMPT = "Once upon a time, Lily"
TASKS = [
    Task("a", "Once upon a time there was a", (" little dog", " green", " Lily is"), 0),
    Task("b", "Lily went to the", (" park", " and and", " the"), 1),
]


@pytest.fixture(scope="module")
def second(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another type than the first."""
    folder = tmp_path_factory.mktemp("second")
    return requantize(fine_tune(stories, folder / "f32.gguf"), folder / "second.gguf", "Q8_0")


@pytest.fixture(scope="module")
def model(stories: Path, second: Path) -> Iterator[gs.LoadedModel]:
    with gs.load(stories, ONE_THREAD, others=[second]) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def written(
    stories: Path, second: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[gs.LoadedModel]:
    """The file of the path, loaded by itself."""
    plan = gs.open(stories).plan(PATH, others=[second])
    file = plan.write(tmp_path_factory.mktemp("written") / "written.gguf")
    with gs.load(file, ONE_THREAD) as loaded:
        yield loaded


def figures(result: gs.PathResult) -> tuple[float, float | None, int]:
    """What does not depend on the machine."""
    found = result.perplexity
    return found.value, found.error, found.n_chunks


def test_texts(model: gs.LoadedModel, written: gs.LoadedModel) -> None:
    expected = written.generate(PROMPT, max_tokens=16)
    for routed in (False, True):
        found = model.generate(PROMPT, PATH, max_tokens=16, routed=routed)
        assert found.tokens == expected.tokens
        assert found.execution == ("routed" if routed else "aliased")
        assert found.layer_path == str(PATH)
        assert [place.source for place in found.placements] == [0, 0, 0, 1, 1, 1]
    assert model.generate(PROMPT, max_tokens=16).execution == "plain"
    assert model.generate(PROMPT, max_tokens=16).tokens != expected.tokens


def test_conversations(model: gs.LoadedModel, written: gs.LoadedModel) -> None:
    settings = ContextSettings(n_ctx=256, chat_format="chatml")
    arguments = {
        "messages": [{"role": "user", "content": "Tell me of a dog."}],
        "max_tokens": 16,
        "temperature": 0,
    }
    said = []
    for loaded, path in ((model, PATH), (written, None)):
        answer = loaded.request(RequestKind.CHAT, arguments, path, settings=settings)
        assert answer is not None
        said.append(answer["choices"][0]["message"]["content"])
    assert said[0] == said[1]


def test_perplexity(model: gs.LoadedModel, written: gs.LoadedModel, stories: Path) -> None:
    """Beside the first model by itself, and beside a model that is loaded for the comparison."""
    (expected,) = written.score(
        TEXT, [LayerPath.identity(6)], reference=gs.ModelReference(stories), settings=SETTINGS
    )
    (found,) = model.score(TEXT, [PATH], reference=gs.PathReference(), settings=SETTINGS)
    assert figures(found) == figures(expected)
    assert found.comparison is not None and expected.comparison is not None
    assert found.comparison.kl == expected.comparison.kl
    (other,) = model.score(
        TEXT, [PATH], reference=gs.ModelReference(written.path), settings=SETTINGS
    )
    assert figures(other) == figures(expected)
    assert other.comparison is not None and other.comparison.kl.mean.value < 1e-9


def test_choices(model: gs.LoadedModel, written: gs.LoadedModel) -> None:
    (found,), (expected,) = model.choose(TASKS, [PATH]), written.choose(TASKS, [None])
    assert [task.log_likelihoods for task in found.task_results] == [
        task.log_likelihoods for task in expected.task_results
    ]


def test_answers_to_the_harness(model: gs.LoadedModel, written: gs.LoadedModel) -> None:
    requests = [LikelihoodRequest("Once upon a time", word) for word in (" there", " Lily")]
    assert model.answer(requests, PATH) == written.answer(requests)


def test_a_store_tells_other_models_apart(
    stories: Path, second: Path, tmp_path: Path, model: gs.LoadedModel
) -> None:
    """The same path and the same first model, with another second one."""
    store = tmp_path / "scores.db"
    third = fine_tune(stories, tmp_path / "third.gguf", seed=3)
    found = [model.score(TEXT, [PATH], settings=SETTINGS, store=store)[0] for _ in range(2)]
    assert figures(found[0]) == figures(found[1])
    with gs.load(stories, ONE_THREAD, others=[third]) as loaded:
        (other,) = loaded.score(TEXT, [PATH], settings=SETTINGS, store=store)
        (anew,) = loaded.score(TEXT, [PATH], settings=SETTINGS)
    assert figures(other) == figures(anew) != figures(found[0])


def test_what_is_outside_the_blocks(stories: Path, second: Path, tmp_path: Path) -> None:
    outside = OutsideBlocks(embeddings=1, output=0)
    plan = gs.open(stories).plan(PATH, others=[second], outside=outside)
    with gs.load(plan.write(tmp_path / "written.gguf"), ONE_THREAD) as loaded:
        expected = loaded.generate(PROMPT, max_tokens=16).tokens
    with gs.load(stories, ONE_THREAD, others=[second], outside=outside) as loaded:
        for routed in (False, True):
            found = loaded.generate(PROMPT, PATH, max_tokens=16, routed=routed)
            assert found.tokens == expected


def test_the_same_file_twice_is_one_model(stories: Path, written: gs.LoadedModel) -> None:
    with gs.load(stories, ONE_THREAD, others=[stories]) as loaded:
        mixed, alone = (
            loaded.generate(PROMPT, LayerPath(path), max_tokens=8).tokens
            for path in ("0..2,1:1..4", "0..2,1..4")
        )
    assert mixed == alone


def test_models_in_this_process(stories: Path, second: Path, written: gs.LoadedModel) -> None:
    expected = written.generate(PROMPT, max_tokens=8).text
    with gs.load(stories, ONE_THREAD, others=[second], in_process=True) as loaded:
        llama = loaded.aliased(PATH).llama(n_ctx=128)
        told = llama.create_completion(PROMPT, max_tokens=8, temperature=0)
    assert told["choices"][0]["text"] == expected


def test_a_model_that_goes_before_it_is_loaded(stories: Path, tmp_path: Path) -> None:
    gone = fine_tune(stories, tmp_path / "gone.gguf")
    with gs.load(stories, ONE_THREAD, others=[gone]) as loaded:
        gone.unlink()
        for _ in range(2):
            with pytest.raises(UsageError, match=r"gone\.gguf"):
                loaded.generate(PROMPT, PATH, max_tokens=4)
        fine_tune(stories, gone)
        assert loaded.generate(PROMPT, PATH, max_tokens=4).n_tokens


def test_an_interrupt_leaves_all_models_loaded(model: gs.LoadedModel) -> None:
    def stop(_piece: str) -> None:
        raise KeyboardInterrupt

    expected = model.generate(PROMPT, PATH, max_tokens=8).tokens
    with pytest.raises(KeyboardInterrupt):
        model.generate(PROMPT, PATH, max_tokens=500, on_text=stop)
    assert not model.is_lost
    assert model.generate(PROMPT, PATH, max_tokens=8).tokens == expected


def test_requests_that_are_none(model: gs.LoadedModel, stories: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no source 2"):
        model.generate(PROMPT, LayerPath("0..2,2:3"))
    with pytest.raises(UsageError, match="no block 5"):
        model.generate(PROMPT, LayerPath("0..2,1:3..5"))
    with pytest.raises(UsageError, match="a scan takes blocks of one model, and 2 are loaded"):
        model.scan(tmp_path / "scan.db", ArithmeticProbe(4), [PATH])
    with pytest.raises(UsageError, match=r"missing\.gguf"):
        gs.load(stories, others=[tmp_path / "missing.gguf"])
    with pytest.raises(UsageError, match="no source 1 for what is outside"):
        gs.load(stories, outside=OutsideBlocks(output=1))


def test_models_that_do_not_go_together(stories: Path, smollm2: Path) -> None:
    with (
        gs.load(stories, ONE_THREAD, others=[smollm2]) as loaded,
        pytest.raises(RefusedError),
    ):
        loaded.generate(PROMPT, PATH, max_tokens=4)
