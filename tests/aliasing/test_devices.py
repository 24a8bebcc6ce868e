"""Aliased models on two devices: two RPC servers of llama.cpp on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.sizing.prediction import DeviceSettings, footprint_of, predict
from tests.calls import patch
from tests.engine.serving import rpc_server
from tests.engine.test_devices import MIB_ROUNDING
from tests.models.expanding import expand_named
from tests.models.fine_tunes import requantize

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.worker import Worker
from tests.aliasing.jobs import gpus_beside, run_beside_written, run_several_beside_written

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


@pytest.mark.parametrize("names", [("RPC1", "RPC0"), ("RPC1",)])
def test_experts_on_the_cpu_stay_there(
    names: tuple[str, ...], worker: Worker, servers: tuple[str, str], tmp_path: Path
) -> None:
    """They are those of the source's first blocks, wherever the path runs these."""
    file, written = tmp_path / "moe.gguf", tmp_path / "written.gguf"
    expand_named("qwen3moe-moe", file)
    shares = (1.0,) * len(names)
    devices = Devices(-1, shares, n_threads=1, rpc=servers, names=names, n_cpu_moe=3)
    patch(file, written, LayerPath("0..3,1..7"))
    ran = worker.run(run_beside_written, file, "0..3,1..7", written, devices)
    assert ran.is_equal
    assert sum(use.n_bytes_weights for use in ran.aliased) == 0, "nothing was loaded"
    assert [use.device for use in ran.source] == ["CPU", *names]
    assert worker.run(gpus_beside, file, devices) == list(names)
    assert not any(placement.is_apart for placement in ran.placements)
    loads = predict(footprint_of(open_gguf(file), devices.overrides), DeviceSettings(shares))
    for use, load in zip(ran.source, loads, strict=True):
        assert use.blocks == load.blocks
        assert use.device == "CPU" or use.n_bytes_weights == pytest.approx(
            load.n_bytes_weights, abs=MIB_ROUNDING
        )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("stories", "0..2,1:1..4"),
        ("stories", "1:0..4,0..4"),
        ("stories", "1:4,0,1:3,1,1:2"),
        ("smollm2", "0..14,1:10..29"),
    ],
)
def test_several_models_on_two_devices(
    name: str,
    path: str,
    worker: Worker,
    servers: tuple[str, str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """The cache of a block is beside its weights, whichever model these are of.

    The output of SmolLM2 is its embeddings, of which a device has a copy.
    """
    first, written = request.getfixturevalue(name), tmp_path / "written.gguf"
    second = requantize(first, tmp_path / "second.gguf", "Q8_0")
    gs.open(first).plan(LayerPath(path), others=[second]).write(written)
    devices = Devices(-1, (1.0, 1.0), n_threads=1, rpc=servers)
    arguments = ModelPaths(first, (second,)), path, written, devices
    ran, is_equal, is_apart = worker.run(run_several_beside_written, *arguments)
    assert ran.is_equal and is_equal
    assert is_apart, "the output is where its model has it"
    assert sum(use.n_bytes_weights for use in ran.aliased) == 0, "nothing was loaded"
    assert {place.weights for place in ran.placements} == {"RPC0", "RPC1"}
    assert not any(place.is_apart for place in ran.placements)
