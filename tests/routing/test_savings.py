"""Nodes that a routed pass leaves out: the same logits, and only once their graph is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.aliasing import layout_check
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.graph import tensor
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.errors import AliasingUnavailableError
from ggufsurgeon.layer_path.notations import repeat_windows
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing import savings
from ggufsurgeon.routing.route import route
from ggufsurgeon.routing.router import opened_router
from tests.models.expanding import expand_named

LATE = repeat_windows(5, [(3, 5)])


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Every change of whether a node is computed."""
    seen: list[tuple[int, bool]] = []
    set_computed = tensor.set_computed

    def noting(address: int, is_computed: bool) -> None:
        seen.append((address, is_computed))
        set_computed(address, is_computed)

    monkeypatch.setattr(tensor, "set_computed", noting)
    return seen


def test_most_nodes_before_the_entry_are_left_out_and_put_back(
    model: Model, tokens: Integers, changed: list[tuple[int, bool]]
) -> None:
    with opened_router([model], len(tokens)) as router:
        identity = LayerPath.identity(5)
        plain, first = router.logits(tokens, [identity, LATE])
        left_out = [address for address, is_computed in changed if not is_computed]
        put_back = [address for address, is_computed in changed if is_computed]
        assert len(left_out) > 40 and sorted(left_out) == sorted(put_back)
        again, second = router.logits(tokens, [identity, LATE])
    assert np.array_equal(plain, again) and np.array_equal(first, second)
    assert np.array_equal(first, route(model, LATE).logits(tokens))


def test_the_later_the_entry_the_more_is_left_out(
    model: Model, tokens: Integers, changed: list[tuple[int, bool]]
) -> None:
    counts = []
    with opened_router([model], len(tokens)) as router:
        next(router.logits(tokens, [LayerPath.identity(5)]))
        for first in (1, 2, 3):
            changed.clear()
            next(router.logits(tokens, [repeat_windows(5, [(first, first + 1)])]))
            counts.append(len(changed))
    assert 0 < counts[0] < counts[1] < counts[2]


def test_nothing_is_left_out_of_paths_that_share_a_batch(
    model: Model, tokens: Integers, changed: list[tuple[int, bool]]
) -> None:
    """Each enters at another block, so what one needs not, another does."""
    paths = [repeat_windows(5, [(first, first + 1)]) for first in (1, 2, 3)]
    with opened_router([model], len(tokens), n_parallel=3) as router:
        for _ in range(2):
            together = list(router.logits(tokens, paths))
    assert changed == []
    alone = [route(model, path).logits(tokens) for path in paths]
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_nothing_is_left_out_where_nodes_are_laid_out_otherwise(
    model: Model,
    tokens: Integers,
    changed: list[tuple[int, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise AliasingUnavailableError("another llama.cpp")

    monkeypatch.setattr(savings, "check_layout", fail)
    with opened_router([model], len(tokens)) as router:
        _, routed = router.logits(tokens, [LayerPath.identity(5), LATE])
    assert changed == []
    assert np.array_equal(routed, route(model, LATE).logits(tokens))


def test_the_flag_and_the_operations_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    layout_check.check_layout.__wrapped__()
    monkeypatch.setattr(layout_check, "FLAG_COMPUTE", 32)
    with pytest.raises(AliasingUnavailableError, match="GGML_TENSOR_FLAG_COMPUTE"):
        layout_check.check_layout.__wrapped__()


@contextmanager
def shared_cache(tmp_path: Path) -> Iterator[Model]:
    """gemma4, whose last blocks read caches that earlier ones write, and no source names those."""
    path = expand_named("gemma4-dense@set=attention.shared_kv_layers:3", tmp_path / "model.gguf")
    with loaded_model(path, Devices()) as model:
        yield model


def test_a_cache_that_later_blocks_read_is_written(tmp_path: Path) -> None:
    with shared_cache(tmp_path) as model:
        path = LayerPath.identity(model.n_blocks)
        tokens = np.arange(1, 41, dtype=np.int32)
        late = repeat_windows(model.n_blocks, [(model.n_blocks - 2, model.n_blocks - 1)])
        with opened_router([model], len(tokens)) as router:
            _, once, again = router.logits(tokens, [path, late, late])
        assert np.array_equal(once, again)
        assert np.array_equal(once, route(model, late).logits(tokens))


def test_generation_leaves_out_too(model: Model, changed: list[tuple[int, bool]]) -> None:
    prompt = np.arange(1, 9, dtype=np.int32)
    said = list(route(model, LATE).generate(prompt, 12))
    assert changed
    again = [*prompt, *said[:-1]]
    logits = route(model, LATE).logits(np.array(again, dtype=np.int32))
    assert [int(row.argmax()) for row in logits[len(prompt) - 1 :]] == said


def test_copies_on_other_devices_are_known_by_their_names(
    rpc_servers: tuple[str, str], tmp_path: Path
) -> None:
    """Blocks of gemma3n read what the first one gave, which is a copy on the second device."""
    file = expand_named("gemma3n-dense", tmp_path / "model.gguf")
    tokens = np.arange(1, 41, dtype=np.int32)
    with loaded_model(file, Devices(rpc=rpc_servers, tensor_split=(1, 1))) as model:
        late = repeat_windows(model.n_blocks, [(model.n_blocks - 2, model.n_blocks - 1)])
        identity = LayerPath.identity(model.n_blocks)
        with opened_router([model], len(tokens)) as router:
            _, found = router.logits(tokens, [identity, late])
        assert np.array_equal(found, route(model, late).logits(tokens))
