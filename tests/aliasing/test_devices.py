"""Aliased models on two devices: two RPC servers of llama.cpp on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.engine.serving import rpc_server

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.workers.worker import Worker
from tests.aliasing.jobs import run_beside_written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    with ExitStack() as stack:
        yield stack.enter_context(rpc_server()), stack.enter_context(rpc_server())


@pytest.fixture(scope="module")
def worker(servers: tuple[str, str]) -> Iterator[Worker]:
    """A process that ends before its servers, whose loss llama.cpp does not survive."""
    with Worker() as one:
        yield one


@pytest.mark.parametrize(
    ("name", "path", "split", "n_gpu_layers"),
    [
        ("stories", "0..2,1..4", (1.0, 1.0), -1),
        ("stories", "0..3,0..4", (2.0, 1.0), -1),
        ("stories", "4,3,2,1,0", (1.0, 1.0), 2),
        ("stories", "4,3,2,1,0", (1.0, 1.0), 4),
        ("stories", "0..4", (0.0, 1.0), -1),
        ("smollm2", "0..16,10..29", (1.0, 1.0), -1),
        ("smollm2", "0..29,24..29", (1.0, 1.0), 20),
        ("smollm2", "0..19,10..25,5..29", (1.0, 1.0), -1),
        ("smollm2", "0..29,24..29", (1.0, 1.0), 0),
    ],
)
def test_weights_stay_and_caches_are_beside_them(
    name: str,
    path: str,
    split: tuple[float, ...],
    n_gpu_layers: int,
    worker: Worker,
    servers: tuple[str, str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """The results are those of the written file on the same devices, to the bit."""
    file, written = request.getfixturevalue(name), tmp_path / "written.gguf"
    devices = Devices(n_gpu_layers, split, n_threads=1, rpc=servers)  # threads as the servers have
    patch(file, written, LayerPath(path))
    ran = worker.run(run_beside_written, file, path, written, devices)
    assert ran.is_equal
    assert sum(use.n_bytes_weights for use in ran.aliased) == 0, "nothing was loaded"
    held = {block: use.device for use in ran.source for block in use.blocks}
    caches = {position: use.device for use in ran.aliased for position in use.blocks}
    blocks = LayerPath(path).blocks
    assert [place.block for place in ran.placements] == list(blocks)
    for position, placement in enumerate(ran.placements):
        assert placement.weights == held[placement.block]
        assert placement.cache == caches[position]
        assert not placement.is_apart or "CPU" in (placement.weights, placement.cache)
    for use in ran.aliased:
        assert (use.n_bytes_kv > 0) == bool(use.blocks)
