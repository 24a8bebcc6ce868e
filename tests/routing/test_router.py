"""Routed = written, to the bit, for paths of every shape, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.engine.context import Batch, Integers, Results
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.notations import repeat_windows
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import opened_router
from ggufsurgeon.routing.stage import Stage
from tests.calls import patch, plan
from tests.conftest import ROOT
from tests.models.expanding import expand
from tests.routing.conftest import Written, plain_logits

TRIANGLE = [repeat_windows(5, [(i, j)]) for i in range(5) for j in range(i + 1, 6)]
OTHERS = ["0..4", "4", "0..3", "2", "4,3,2,1,0", "0,0,1,4,4", "1..2,0,4,3", "2,1..2,1,0", "1..4"]


@pytest.fixture
def n_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each batch that is run."""
    counted: list[int] = []
    decode = Stage.decode

    def counting(self: Stage, *arguments: object, **named: object) -> object:
        counted.append(1)
        return decode(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Stage, "decode", counting)
    return counted


def test_every_window_in_one_pass_each(
    model: Model, tokens: Integers, written: Written, n_decodes: list[int]
) -> None:
    with opened_router([model], len(tokens)) as router:
        for path, routed in zip(TRIANGLE, router.logits(tokens, TRIANGLE), strict=True):
            assert np.array_equal(routed, written(path, tokens)), str(path)
    assert len(n_decodes) == 1 + len(TRIANGLE)


@pytest.mark.parametrize("layers", OTHERS)
def test_other_paths(model: Model, tokens: Integers, written: Written, layers: str) -> None:
    path = LayerPath(layers)
    assert np.array_equal(route(model, path).logits(tokens), written(path, tokens))


def test_a_path_that_extends_another_reuses_its_states(
    model: Model, tokens: Integers, n_decodes: list[int]
) -> None:
    with opened_router([model], len(tokens)) as router:
        list(router.logits(tokens, [LayerPath("0..3,2..3,1..4")]))
        assert len(n_decodes) == 3
        list(router.logits(tokens, [LayerPath("0..3,2..3,0..4")]))
        assert len(n_decodes) == 4
        list(router.logits(tokens[::-1].copy(), [LayerPath("0..3,2..3,0..4")]))
        assert len(n_decodes) == 7, "other tokens have other states"


def test_many_paths_in_one_stream(
    model: Model, tokens: Integers, written: Written, n_decodes: list[int]
) -> None:
    """A pass a window, and the plain pass gives the states for all that do not end the model."""
    wanted = np.arange(len(tokens)) >= 9
    pieces = Batch.of(tokens, wanted).parts(16)
    inner = [path for path in TRIANGLE if path.blocks[-2:] == (3, 4) and len(path) < 9]
    paths = [LayerPath.identity(5), *inner]
    with opened_router([model], len(tokens)) as router:
        found: dict[int, list[Results]] = {}
        for index, _, logits in router.stream(pieces, paths):
            found.setdefault(index, []).append(np.array(logits))
    windows_at_the_end = [p for p in inner if next(last.block for _, last in p.runs()) == 4]
    assert len(n_decodes) == len(pieces) * (len(paths) + bool(windows_at_the_end))
    for n, path in enumerate(paths):
        with opened_router([model], len(tokens)) as router:
            alone = [decoded.logits.copy() for decoded in router.stream(pieces, [path])]
        assert np.array_equal(np.concatenate(found[n]), np.concatenate(alone)), str(path)
        np.testing.assert_allclose(
            np.concatenate(found[n]), written(path, tokens)[wanted], atol=1e-4
        )


def test_a_pass_runs_once_for_all_paths_that_need_it(
    model: Model, tokens: Integers, n_decodes: list[int]
) -> None:
    """Also where no path of the stream has its logits: the plain pass, and that of a prefix."""
    for layers, n_passes in (
        (["0..1,0..4", "0..2,1..4", "0..3,2..4"], 1 + 3),
        (["0..3,2..3,1..4", "0..3,2..3,0..4", "0..3,2,0..4"], 2 + 3),
        (["0..3,2..4", "0..3,2..3,1..4"], 1 + 2),
        (["0..4,0..4", "0..4,3..4", "0..2,1..4"], 1 + 3),
    ):
        paths = [LayerPath(path) for path in layers]
        n_decodes.clear()
        with opened_router([model], len(tokens)) as router:
            rows = router.stream([Batch.of(tokens)], paths)
            found = [decoded.logits.copy() for decoded in rows]
        assert len(n_decodes) == n_passes, layers
        for path, logits in zip(paths, found, strict=True):
            assert np.array_equal(logits, route(model, path).logits(tokens)), str(path)


@pytest.mark.parametrize("seed", range(4))
def test_paths_of_any_shape_and_order_in_one_stream(
    model: Model, tokens: Integers, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    paths = [LayerPath.of(generator.integers(0, 5, generator.integers(1, 9))) for _ in range(6)]
    paths.insert(int(generator.integers(0, 6)), LayerPath.identity(5))
    with opened_router([model], len(tokens)) as router:
        rows = router.stream([Batch.of(tokens)], paths)
        found = [decoded.logits.copy() for decoded in rows]
    for path, logits in zip(paths, found, strict=True):
        assert np.array_equal(logits, route(model, path).logits(tokens)), str(path)


def test_states_beyond_the_limit_go_to_a_file(model: Model, tokens: Integers) -> None:
    one_state = tokens.size * 64 * 4
    paths = [*TRIANGLE, *map(LayerPath, OTHERS)]
    with opened_router([model], 40) as router:
        kept = list(router.logits(tokens, paths))
    for limit in (0, 2 * one_state):
        with opened_router([model], 40, limit_n_bytes=limit) as router:
            for one, other in zip(kept, router.logits(tokens, paths), strict=True):
                assert np.array_equal(one, other)


def test_paths_that_ride_together(model: Model, tokens: Integers, n_decodes: list[int]) -> None:
    paths = [*TRIANGLE, *map(LayerPath, OTHERS)]
    with opened_router([model], 40) as router:
        alone = list(router.logits(tokens, paths))
    n_alone = len(n_decodes)
    with opened_router([model], 40, n_parallel=5) as router:
        for one, other in zip(alone, router.logits(tokens, paths), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    assert len(n_decodes) - n_alone < n_alone / 2


def test_tokens_beyond_a_batch(model: Model, written: Written) -> None:
    tokens = np.random.default_rng(1).integers(0, model.n_vocab, 700).astype(np.int32)
    for layers in ("0..3,1..4", "0..3", "1..4,4,0"):
        path = LayerPath(layers)
        assert np.array_equal(route(model, path).logits(tokens), written(path, tokens)[:700])


def test_logits_only_where_wanted(model: Model, tokens: Integers) -> None:
    wanted = np.arange(len(tokens)) % 7 == 3
    for layers in ("0..3,1..4", "0..3", "4,3"):
        all_rows = route(model, LayerPath(layers)).logits(tokens)
        some = route(model, LayerPath(layers)).logits(tokens, wanted)
        np.testing.assert_allclose(some, all_rows[wanted], atol=1e-4)


def test_logits_only_where_wanted_of_paths_that_ride_together(
    model: Model, tokens: Integers
) -> None:
    wanted = np.arange(len(tokens)) % 7 == 3
    paths = [LayerPath(layers) for layers in ("0..3", "4,3", "0..2", "0..4,0..3")]
    with opened_router([model], 40) as router:
        alone = list(router.logits(tokens, paths, wanted))
    with opened_router([model], 40, n_parallel=4) as router:
        for one, other in zip(alone, router.logits(tokens, paths, wanted), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_blocks_of_two_models_in_turn(
    model: Model, stories: Path, tokens: Integers, written: Written, tmp_path: Path
) -> None:
    """The second has the blocks of the first in reverse: block k is the first's 4 - k."""
    reverse = tmp_path / "reverse.gguf"
    patch(stories, reverse, LayerPath("4,3,2,1,0"))
    with loaded_model(reverse, Devices()) as other:
        for mixed, same in (("0..1,1:2,1:1,0:4", "0..4"), ("1:4,1..2,1:1..2,1:0", "0..3,2,4")):
            routed = route([model, other], LayerPath(mixed)).logits(tokens)
            assert np.array_equal(routed, written(LayerPath(same), tokens)), mixed


def test_models_of_other_widths_do_not_mix(model: Model, tokens: Integers, tmp_path: Path) -> None:
    narrow = ROOT / "fixtures/arch_headers/llama-dense.gguf"
    with (
        loaded_model(expand(narrow, tmp_path / "narrow.gguf", 0), Devices()) as other,
        pytest.raises(RefusedError, match=r"residual stream has 64 dimensions in .* and 256 in"),
    ):
        route([model, other], LayerPath("0..2,1:3,4")).logits(tokens)


def test_tokens_of_an_encoder_see_each_other_beyond_a_batch(tmp_path: Path) -> None:
    header = ROOT / "fixtures/arch_headers/eurobert-dense.gguf"
    path = expand(header, tmp_path / "model.gguf", 0)
    tokens = np.random.default_rng(1).integers(0, 128, 600).astype(np.int32)
    with loaded_model(path, Devices()) as model:
        routed = route(model, LayerPath("0..7")).logits(tokens)
    assert np.array_equal(routed, plain_logits(path, tokens))


@pytest.mark.parametrize(
    ("header", "layers"),
    [
        ("gemma4_shared_kv-dense", "0,1,4,7"),
        ("gemma4_shared_kv-dense", "0..3,2..5,6,6..7"),
        ("gemma4_shared_kv-dense", "1..4,7,7"),
        ("gemma4_e2b-dense", "0..2,1..5,6,6..7"),
        ("gemma4_per_layer-dense", "3,0,7,2,1,6,5,4"),
        ("hy_v4-moe", "0..3,2..3,3..5,4..7"),
        ("rwkv7-dense", "0..3,2..6,5..7"),
        ("step35-moe", "0..4,3..7"),
    ],
)
def test_what_crosses_seams_besides_the_residual_stream(
    tmp_path: Path, header: str, layers: str
) -> None:
    """Shared KV, shared top-k, embeddings for each block, the values of block 0."""
    source = expand(ROOT / f"fixtures/arch_headers/{header}.gguf", tmp_path / "source.gguf", 2)
    tokens = np.random.default_rng(0).integers(0, 128, 40).astype(np.int32)
    patch(source, tmp_path / "patched.gguf", LayerPath(layers))
    with loaded_model(source, Devices()) as model:
        routed = route(model, LayerPath(layers)).logits(tokens)
    assert np.array_equal(routed, plain_logits(tmp_path / "patched.gguf", tokens))


@pytest.mark.parametrize(
    ("header", "layers", "says"),
    [
        ("talkie-dense", "0..3,0..7", "later blocks of talkie read what feeds block 0"),
        ("talkie-dense", "1..7", "later blocks of talkie read what feeds block 0"),
        ("hrm_text-dense", "0..3,2..5", "two stacks"),
        ("hy_v4-moe", "0..4,3..7", "top-k"),
    ],
)
def test_what_cannot_be_routed_is_refused(
    tmp_path: Path, header: str, layers: str, says: str
) -> None:
    path = expand(ROOT / f"fixtures/arch_headers/{header}.gguf", tmp_path / "model.gguf", 0)
    with loaded_model(path, Devices()) as model:
        tokens = np.arange(40, dtype=np.int32) % model.n_vocab
        with pytest.raises(RefusedError, match=says):
            route(model, LayerPath(layers)).logits(tokens)


def test_blocks_that_read_what_feeds_block_0_are_not_mixed(tmp_path: Path) -> None:
    header = ROOT / "fixtures/arch_headers/talkie-dense.gguf"
    path = expand(header, tmp_path / "model.gguf", 0)
    refused = pytest.raises(RefusedError, match="cannot be mixed with those of another model")
    with loaded_model(path, Devices()) as model, refused:
        route([model, model], LayerPath("0..3,1:4..7"))


def test_a_path_that_no_file_can_have_is_routed(tmp_path: Path) -> None:
    """minimax-01's decay goes by index in a file; a loaded block keeps its own."""
    header = ROOT / "fixtures/arch_headers/minimax-01-moe.gguf"
    path = expand(header, tmp_path / "model.gguf", 0)
    with pytest.raises(RefusedError):
        plan(path, LayerPath("0..3,2..7"))
    with loaded_model(path, Devices()) as model:
        tokens = np.arange(40, dtype=np.int32) % model.n_vocab
        plain, routed = (
            route(model, LayerPath(layers)).logits(tokens) for layers in ("0..7", "0..3,2..7")
        )
    assert np.isfinite(routed).all() and not np.array_equal(plain, routed)


def test_requests_that_are_none(model: Model, tokens: Integers) -> None:
    with pytest.raises(UsageError, match="no block 5"):
        route(model, LayerPath.of([0, 5]))
    with pytest.raises(UsageError, match="no source 1"):
        route(model, LayerPath("0..2,1:3"))
    with opened_router([model], 16) as router, pytest.raises(UsageError, match="do not fit"):
        next(router.logits(tokens, [LayerPath.identity(5)]))
    two = Batch.of(tokens).repeated(2)
    with opened_router([model], 40) as router, pytest.raises(UsageError, match="2 texts do not"):
        next(router.stream([two], [LayerPath.identity(5)]))


def test_iterations_at_the_same_time_do_not_mix(model: Model, tokens: Integers) -> None:
    others, paths = tokens[::-1].copy()[:30], TRIANGLE[:4]
    with opened_router([model], 40) as router:
        alone = list(router.logits(tokens, paths)), list(router.logits(others, paths))
        pairs = zip(router.logits(tokens, paths), router.logits(others, paths), strict=True)
        for n, (one, other) in enumerate(pairs):
            assert np.array_equal(one, alone[0][n])
            assert np.array_equal(other, alone[1][n])


def test_masks_and_tokens_of_other_types(model: Model, tokens: Integers) -> None:
    path = LayerPath("0..3,1..4")
    wanted = np.arange(len(tokens)) % 3 == 0
    expected = route(model, path).logits(tokens, wanted)
    found = route(model, path).logits(tokens.astype(np.int64), wanted.astype(int))
    assert np.array_equal(found, expected)
    listed = list(route(model, path).generate([int(n) for n in tokens], 3))  # type: ignore[arg-type]
    assert listed == list(route(model, path).generate(tokens, 3))
    for mask in (wanted[:-1], np.ones(len(tokens) + 1, dtype=bool)):
        with pytest.raises(UsageError, match="a flag for each of 40 tokens"):
            route(model, path).logits(tokens, mask)
    with pytest.raises(UsageError, match="expected token ids"):
        route(model, path).logits(tokens.astype(float))


@pytest.mark.parametrize(("n_ctx", "n_parallel"), [(0, 1), (64, 0), (64, 257), (64, -1)])
def test_routers_that_are_none(model: Model, n_ctx: int, n_parallel: int) -> None:
    with (
        pytest.raises(UsageError, match="a router takes"),
        opened_router([model], n_ctx, n_parallel),
    ):
        pass


def test_learned_positions_end_with_the_context(tmp_path: Path) -> None:
    path = expand(ROOT / "fixtures/arch_headers/gpt2-dense.gguf", tmp_path / "model.gguf", 0)
    with loaded_model(path, Devices()) as model:
        tokens = np.zeros(model.n_ctx_train + 1, dtype=np.int32)
        with pytest.raises(UsageError, match="has positions for"):
            route(model, LayerPath("0..7")).logits(tokens)
        with pytest.raises(UsageError, match="has positions for"):
            next(route(model, LayerPath("0..7")).generate(tokens[:-4], 5))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_passes_take_no_more_memory_than_a_hundred() -> None:
    command = [sys.executable, "-m", "tests.routing.thousand"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    after_100, after_1000 = map(int, done.stdout.split())
    assert after_1000 - after_100 < 5_000, "kB; a state kept of each pass would be 8,000"
