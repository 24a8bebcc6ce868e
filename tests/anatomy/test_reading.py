"""States, lens and patching: equal to NumPy, to the model itself, and to written files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.models.expanding import expand_named

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.anatomy.reading.block_figures import block_figures
from ggufsurgeon.anatomy.reading.lens import lens_logits, read_lens
from ggufsurgeon.anatomy.reading.patching import TokenPair, patched_differences
from ggufsurgeon.anatomy.reading.states import as_vectors, read_states
from ggufsurgeon.architectures.residual import residual_nodes
from ggufsurgeon.engine.context import Batch, Integers, Results, opened_context
from ggufsurgeon.engine.graph.taps import Activation, Rows, Taps
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.routing.stage import Stage, opened_stage
from tests.anatomy.numpy_llama import NumpyLlama

N_TOKENS = 12
ONE_THREAD = Devices(n_threads=1)
TINY = (
    "gemma3-dense",  # block 0 is fed by a scaled embedding
    "gpt2-dense",  # and here by one with positions
    "bloom-dense",  # by a norm
    "mamba-dense",  # recurrent
    "olmoe-moe",
    "gemma3n-dense",  # several streams, and values of earlier blocks
    "gptneox-dense",  # attention and feed-forward side by side
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@contextmanager
def opened(name: str, folder: Path, stories: Path) -> Iterator[tuple[Model, Stage, Integers]]:
    path = stories if name == "stories" else folder / f"{name}.gguf"
    if not path.exists():
        expand_named(name, path)
    with (
        loaded_model(path, ONE_THREAD) as model,
        opened_stage(model, N_TOKENS, N_TOKENS) as stage,
    ):
        ids = np.random.default_rng(0).integers(0, model.n_vocab, N_TOKENS).astype(np.int32)
        yield model, stage, ids


def plain_logits(model: Model, tokens: Integers) -> Results:
    """Without any of the code under test."""
    n = len(tokens)
    with opened_context(model, n, n) as context:
        return np.array(context.decode(Batch.of(tokens)))


def test_states_and_lens_are_those_of_numpy(stories: Path, tiny: Path) -> None:
    reference = NumpyLlama(stories)
    with opened("stories", tiny, stories) as (_, stage, tokens):
        states = read_states(stage, tokens)
        expected = reference.states(tokens)
        assert len(states) == len(expected) == 6
        assert np.array_equal(as_vectors(states)[0], expected[0])
        for ours, theirs in zip(as_vectors(states), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=5e-3)  # the KV cache is of F16
        everything = np.ones(N_TOKENS, dtype=bool)
        for state, theirs in zip(states, expected, strict=True):
            logits = lens_logits(stage, tokens, state, everything)
            np.testing.assert_allclose(logits, reference.logits(theirs), atol=2e-2)


def test_the_lens_is_the_file_that_ends_behind_the_block(
    stories: Path, tiny: Path, tmp_path: Path
) -> None:
    with opened("stories", tiny, stories) as (model, stage, tokens):
        states = read_states(stage, tokens)
        for block in range(4):
            cut = tmp_path / f"{block}.gguf"
            patch(stories, cut, LayerPath.of(range(block + 1)))
            found = lens_logits(stage, tokens, states[block + 1], np.ones(N_TOKENS, dtype=bool))
            with loaded_model(cut, ONE_THREAD) as shorter:
                assert np.array_equal(found, plain_logits(shorter, tokens)), block
        assert model.n_blocks == 5


@pytest.mark.parametrize("name", TINY)
def test_the_lens_of_the_last_block_is_the_model(name: str, tiny: Path, stories: Path) -> None:
    with opened(name, tiny, stories) as (model, stage, tokens):
        states = read_states(stage, tokens)
        assert len(states) == model.n_blocks + 1
        found = np.array(lens_logits(stage, tokens, states[-1], np.ones(N_TOKENS, dtype=bool)))
        assert np.array_equal(found, plain_logits(model, tokens))
        other = lens_logits(stage, tokens, states[-2], np.ones(N_TOKENS, dtype=bool))
        assert not np.array_equal(other, found)


@pytest.mark.parametrize("name", TINY)
def test_each_state_gives_the_rest_of_the_model(name: str, tiny: Path, stories: Path) -> None:
    """What was read behind a block, put back in a run of other tokens, brings the logits back."""
    with opened(name, tiny, stories) as (model, stage, tokens):
        states = read_states(stage, tokens)
        expected = plain_logits(model, tokens)
        if name == "gemma3n-dense":  # what later blocks take from tokens themselves stays theirs
            return
        for block in range(1, model.n_blocks, 3):
            stage.clear()
            rows = {block: [Rows(slice(0, N_TOKENS), states[block])]}
            found, _ = stage.decode(Batch.of(tokens[::-1].copy()), rows, (), True)
            assert np.array_equal(found, expected), block


def test_figures_of_the_lens(stories: Path, tiny: Path) -> None:
    with opened("stories", tiny, stories) as (model, stage, tokens):
        wanted = np.arange(N_TOKENS) >= N_TOKENS - 3
        states = read_states(stage, tokens)
        found = read_lens(stage, tokens, states, wanted)
        final = plain_logits(model, tokens)[wanted].astype(np.float64)
        answers = final.argmax(axis=-1)
        assert found.ranks.shape == found.log_probs.shape == (3, 5)
        assert (found.ranks[:, -1] == 1).all()
        for block in range(5):
            logits = np.array(lens_logits(stage, tokens, states[block + 1], wanted), dtype=float)
            for row in range(3):
                order = np.argsort(-logits[row], kind="stable").tolist()
                assert found.ranks[row, block] == 1 + order.index(answers[row])
                p = np.exp(logits[row]) / np.exp(logits[row]).sum()
                assert np.exp(found.log_probs[row, block]) == pytest.approx(p[answers[row]])


@pytest.mark.parametrize("name", ["stories", "gpt2-dense", "mamba-dense", "olmoe-moe"])
def test_patching_is_an_overwritten_row(name: str, tiny: Path, stories: Path) -> None:
    """One row alone is overwritten here, in one sequence, and everything is computed."""
    with opened(name, tiny, stories) as (model, stage, clean):
        corrupt = clean.copy()
        corrupt[3:5] = (clean[3:5] + 7) % model.n_vocab
        tokens = TokenPair(clean, corrupt, answer=5, other=9)
        states = read_states(stage, clean), read_states(stage, corrupt)
        places = np.arange(3, N_TOKENS)
        found = patched_differences(model, tokens, *states, places)
        assert found.shape == (model.n_blocks, N_TOKENS - 3) and np.isfinite(found).all()
        for block in (0, model.n_blocks // 2, model.n_blocks - 1):
            name_of_node = stage.node_name(block, Batch.of(corrupt))
            for column in (0, 4, len(places) - 1):
                place = int(places[column])
                row = Rows(slice(place, place + 1), states[0][block + 1][place : place + 1])
                logits = _overwritten(model, corrupt, name_of_node, row)
                expected = float(logits[tokens.answer]) - float(logits[tokens.other])
                assert found[block, column] == pytest.approx(expected, abs=2e-4), (block, place)
        for ids, column in ((clean, len(places) - 1), (corrupt, 0)):
            row = plain_logits(model, ids)[-1]
            whole = float(row[tokens.answer]) - float(row[tokens.other])
            assert found[-1, column] == pytest.approx(whole, abs=2e-4)


def _overwritten(model: Model, tokens: Integers, node: str, row: Rows) -> Activation:
    """The last logits where one row of one node is another, in a context of its own."""
    n = len(tokens)
    taps = Taps(residual_nodes(model.architecture).token_dim)
    with opened_context(model, n, n, taps=taps) as context:
        batch = Batch.of(tokens)
        taps.prepare(batch.wanted, (), {node: [row]})
        logits = np.array(context.decode(batch)[-1])
        taps.take()
        return logits


def test_influence_and_norms_by_hand() -> None:
    states = np.array(
        [[[3.0, 4.0], [1.0, 0.0]], [[4.0, -3.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]]
    )
    found = block_figures(states)
    assert found.influence.tolist() == [0.5, 1.0]  # cosines 0 and 1; of a state of 0 none
    assert found.norms.tolist() == [3.0, 3.5, 1.0]
    assert found.added[0] == pytest.approx((50**0.5 + 1) / 2)


def test_influence_of_a_block_that_is_left_unchanged(stories: Path, tiny: Path) -> None:
    with opened("stories", tiny, stories) as (_, stage, tokens):
        vectors = as_vectors(read_states(stage, tokens))
        found = block_figures(np.concatenate([vectors, vectors[-1:]]))
        assert found.influence[-1] == pytest.approx(0, abs=1e-12) and found.added[-1] == 0
        cosine = [
            (a @ b) / np.sqrt((a @ a) * (b @ b))
            for a, b in zip(vectors[1], vectors[2], strict=True)
        ]
        assert found.influence[1] == pytest.approx(1 - np.mean(cosine))
