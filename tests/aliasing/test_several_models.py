"""Law: over several models too, an aliased model computes what the written file does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.context import Results
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from tests.aliasing.jobs import TOKENS, logits_of
from tests.aliasing.opening import memory_of
from tests.conftest import ROOT
from tests.models.expanding import expand, expand_named
from tests.models.fine_tunes import fine_tune, requantize

ONE_THREAD = Devices(n_threads=1)
PATH = LayerPath("0..3,1:4..5,6,1:7")
ARCHITECTURES = (
    "llama-dense",
    "gemma3-dense",
    "gpt-oss-moe",
    "qwen3moe-moe",
    "mamba2-dense",
    "gpt2-dense",
    "phi3-dense",
    "lfm2-dense",
)
"""Sliding windows, experts, recurrence, learned positions, tied and untied outputs, an
output norm that is called one of embeddings."""
SIDES = (None, OutsideBlocks(1, 0, 0), OutsideBlocks(0, 0, 1))


@contextmanager
def opened(*files: Path, outside: OutsideBlocks | None = None) -> Iterator[Sources]:
    with ExitStack() as stack:
        models = [stack.enter_context(loaded_model(file, ONE_THREAD)) for file in files]
        yield Sources(tuple(models), outside)


def written(
    first: Path, second: Path, path: LayerPath, outside: OutsideBlocks | None, folder: Path
) -> Results:
    """The logits of the file that is written of two models."""
    plan = gs.open(first).plan(path, others=[second], outside=outside)
    with loaded_model(plan.write(folder / "written.gguf", replace=True), ONE_THREAD) as model:
        return logits_of(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_aliased_is_routed_is_written(name: str, tmp_path: Path) -> None:
    first = expand_named(name, tmp_path / "first.gguf")
    second = fine_tune(first, tmp_path / "second.gguf")
    found = []
    for outside in SIDES:
        expected = written(first, second, PATH, outside, tmp_path)
        with opened(first, second, outside=outside) as sources:
            with alias(sources, PATH) as model:
                assert np.array_equal(logits_of(model), expected), outside
            assert np.array_equal(route(sources, PATH).logits(TOKENS), expected), outside
        found.append(expected)
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("layers", ["0..1,1:2,3..4,1:3..4", "1:0..4", "1:4,1:0*0.5,1:1,0..2"])
def test_models_of_different_types(stories: Path, tmp_path: Path, layers: str) -> None:
    """Each block keeps its bytes, whatever type they are of; blocks may have strengths."""
    second = requantize(fine_tune(stories, tmp_path / "f32.gguf"), tmp_path / "q8.gguf", "Q8_0")
    path = LayerPath(layers)
    expected = written(stories, second, path, None, tmp_path)
    with opened(stories, second) as sources:
        assert np.array_equal(route(sources, path).logits(TOKENS), expected)
        with alias(sources, path) as model:
            assert np.array_equal(logits_of(model), expected)


def test_blocks_have_the_memory_of_their_models(stories: Path, tmp_path: Path) -> None:
    """Nothing is read again, and what stands twice is there once."""
    second = fine_tune(stories, tmp_path / "second.gguf")
    with opened(stories, second) as sources, alias(sources, LayerPath("0..4,1:4,1:4")) as model:
        ours, *theirs = map(memory_of, (model, *sources.models))
        assert ours["blk.4.ffn_up.weight"] == theirs[0]["blk.4.ffn_up.weight"]
        for n in (5, 6):
            assert ours[f"blk.{n}.ffn_up.weight"] == theirs[1]["blk.4.ffn_up.weight"]
        assert ours["token_embd.weight"] == theirs[0]["token_embd.weight"]
        assert (
            ours["output.weight"]
            <= theirs[1].get("output.weight", set()) | (theirs[1]["token_embd.weight"])
        )
        places = model.placements()
        assert [(place.source, place.block) for place in places[4:]] == [(0, 4), (1, 4), (1, 4)]


@pytest.mark.parametrize("freed", [0, 1])
def test_it_is_freed_with_any_of_its_models(stories: Path, tmp_path: Path, freed: int) -> None:
    second = fine_tune(stories, tmp_path / "second.gguf")
    with opened(stories, second) as sources:
        model = alias(sources, LayerPath("0..2,1:3..4"))
        logits_of(model)
        sources.models[freed].free()
        with pytest.raises(UsageError, match="no longer loaded"):
            logits_of(model)
        logits_of(sources.models[1 - freed])


def test_all_of_a_family_take_turns(stories: Path, tmp_path: Path) -> None:
    """Threads that decode over either model, and over both, wait for each other, not for ever."""
    second = fine_tune(stories, tmp_path / "second.gguf")
    with opened(stories, second) as sources:
        mixed = alias(sources, LayerPath("0..2,1:3..4"))
        back = alias(Sources(sources.models[::-1]), LayerPath("0..2,1:3..4"))
        everyone: list[Model] = [*sources.models, mixed, back]
        alone = [logits_of(model) for model in everyone]
        same = [False] * len(everyone)

        def decode(n: int) -> None:
            same[n] = all(np.array_equal(logits_of(everyone[n]), alone[n]) for _ in range(8))

        threads = [threading.Thread(target=decode, args=(n,)) for n in range(len(everyone))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert all(same)


def test_files_that_change_or_go_once_they_are_loaded(stories: Path, tmp_path: Path) -> None:
    path, second = LayerPath("0..2,1:3..4"), fine_tune(stories, tmp_path / "second.gguf")
    expected = written(stories, second, path, None, tmp_path)
    with opened(stories, second) as sources:
        with alias(sources, path) as model:
            second.unlink()
            assert np.array_equal(logits_of(model), expected), "the weights are in memory"
        assert np.array_equal(route(sources, path).logits(TOKENS), expected)
        with pytest.raises(UsageError, match=r"second\.gguf has changed since it was loaded"):
            alias(sources, path)


def test_what_all_blocks_read_must_be_the_same(tmp_path: Path) -> None:
    """As for a file that is written: rotary factors that differ."""
    header = ROOT / "fixtures/arch_headers/llama-dense.gguf"
    first, second = (expand(header, tmp_path / f"{seed}.gguf", seed) for seed in (1, 2))
    refused = pytest.raises(RefusedError, match=r"rope_freqs\.weight, which the blocks of all")
    with opened(first, second) as sources, refused:
        alias(sources, PATH)
