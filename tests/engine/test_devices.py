"""A model on two devices: two RPC servers of llama.cpp."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.sizing.prediction import DeviceSettings, footprint_of, predict
from tests.conftest import ROOT, Run
from tests.engine.serving import rpc_server
from tests.models.builders import llama_model

pytestmark = pytest.mark.slow

TEXT = ROOT / "ggufsurgeon/verification/texts/shakespeare.txt"
MIB_ROUNDING = 0.005 * 1024 * 1024 + 1
NOTHING = {"blocks": (), "has_output": False, "n_bytes_kv": 0, "n_bytes_weights": 0}
Servers = tuple[str, str]


def on(servers: Servers, split: str = "1,1", n_gpu_layers: str = "-1") -> list[str]:
    options = ["--rpc", ",".join(servers), "--tensor-split", split]
    return [*options, "--n-gpu-layers", n_gpu_layers]


def measure(surgeon: Run, model: Path, *options: str) -> dict[str, Any]:
    arguments = ["--text", TEXT, "--chunks", "1", "--ctx", "256", "--json", "--quiet", *options]
    done = surgeon("perplexity", model, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@pytest.mark.parametrize("name", ["stories", "smollm2"])
def test_two_devices_measure_what_one_does(
    name: str, request: pytest.FixtureRequest, surgeon: Run, rpc_servers: Servers
) -> None:
    model = request.getfixturevalue(name)
    one = measure(surgeon, model, "--threads", "1")
    two = measure(surgeon, model, *on(rpc_servers))
    assert [use["device"] for use in two["devices"]] == ["CPU", "RPC0", "RPC1"]
    assert two["perplexity"] == one["perplexity"]


@pytest.mark.parametrize(
    ("name", "split", "n_gpu_layers"),
    [
        ("stories", "1,1", "-1"),
        ("stories", "3,1", "-1"),
        ("stories", "1,1", "3"),
        ("stories", "0,1", "-1"),
        ("smollm2", "1,1", "-1"),
        ("smollm2", "2,3", "17"),
    ],
)
def test_the_report_is_what_was_predicted(
    name: str,
    split: str,
    n_gpu_layers: str,
    request: pytest.FixtureRequest,
    surgeon: Run,
    rpc_servers: Servers,
) -> None:
    model = request.getfixturevalue(name)
    measured = measure(surgeon, model, *on(rpc_servers, split, n_gpu_layers))
    used = {use["device"]: use for use in measured["devices"]}
    shares = tuple(map(float, split.split(",")))
    settings = DeviceSettings(shares, int(n_gpu_layers), n_ctx=256)
    loads = predict(footprint_of(open_gguf(model)), settings)
    for load, device in zip(loads, ("CPU", "RPC0", "RPC1"), strict=True):
        use = used.get(device, NOTHING)
        assert (tuple(use["blocks"]), use["has_output"]) == (load.blocks, load.has_output)
        assert use["n_bytes_kv"] == pytest.approx(load.n_bytes_kv["f16"], abs=MIB_ROUNDING)
        weights = load.n_bytes_mapped if device == "CPU" else load.n_bytes_weights
        assert use["n_bytes_weights"] == pytest.approx(weights, abs=MIB_ROUNDING)


def test_repeats_make_the_mapped_piece_larger_than_the_weights(
    stories: Path, tmp_path: Path, surgeon: Run, rpc_servers: Servers
) -> None:
    """They are behind all else, and the CPU's weights are one piece from the first to the last."""
    patched = tmp_path / "patched.gguf"
    surgeon("patch", stories, patched, "--window", "0:2")
    used = measure(surgeon, patched, *on(rpc_servers, "1,1", "3"))["devices"][0]
    settings = DeviceSettings((1, 1), 3, n_ctx=256)
    load = predict(footprint_of(open_gguf(patched)), settings)[0]
    assert used["blocks"] == list(load.blocks) == [0, 1, 2, 3, 4]
    assert used["n_bytes_weights"] == pytest.approx(load.n_bytes_mapped, abs=MIB_ROUNDING)
    assert load.n_bytes_mapped > 1.1 * load.n_bytes_weights


def test_a_patched_file_is_proven_on_two_devices(
    stories: Path, tmp_path: Path, surgeon: Run, rpc_servers: Servers
) -> None:
    patched = tmp_path / "patched.gguf"
    surgeon("patch", stories, patched, "--window", "0:3")
    few = ["--chunks", "1", "--ctx", "256"]
    command = ["verify", patched, "--source", stories, *on(rpc_servers, "2,1"), *few]
    done = surgeon(*command, "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    proof = json.loads(done.stdout)
    assert proof["ok"]
    assert proof["equivalence"]["max_abs_diff"] == 0.0, "RPC servers run the same kernels"
    for run, n_blocks in (("source_run", 5), ("patched_run", 8)):
        devices = proof[run]["devices"]
        assert [block for use in devices for block in use["blocks"]] == list(range(n_blocks))
        n_kv = n_blocks * 2 * 32 * 2 * 256  # K and V of 32 elements in f16
        assert sum(use["n_bytes_kv"] for use in devices) == pytest.approx(
            n_kv, abs=2 * MIB_ROUNDING
        )
    told = surgeon(*command).stdout
    assert "\nDevices: source\n" in told and "\nDevices: patched\n" in told
    assert re.search(r"^ RPC1 +127\.0\.0\.1:", told, re.MULTILINE)
    tables = told[told.index("Devices: source") : told.index("note:")]
    assert max(map(len, tables.splitlines())) <= 80


def test_the_suggested_split_balances(
    smollm2: Path, tmp_path: Path, surgeon: Run, rpc_servers: Servers
) -> None:
    """Block by block, the output matrix of SmolLM2 is much more than its share."""
    patched = tmp_path / "patched.gguf"
    surgeon("patch", smollm2, patched, "--window", "10:17")
    few = ["--thorough", "--chunks", "1", "--ctx", "256", "--json"]
    proof = surgeon("verify", patched, "--source", smollm2, *on(rpc_servers), *few)
    split = json.loads(proof.stdout)["suggested_tensor_split"]
    assert sum(split) == 38
    again = measure(surgeon, patched, *on(rpc_servers, ",".join(map(str, split))))
    one, two = (use["n_bytes_weights"] + use["n_bytes_kv"] for use in again["devices"][1:])
    assert [len(use["blocks"]) for use in again["devices"][1:]] == [split[0], split[1] - 1]
    assert abs(one - two) < 2_700_000  # a block and its cache


def test_devices_are_told_in_the_order_of_their_shares_before_loading(
    stories: Path, surgeon: Run, rpc_servers: Servers, tmp_path: Path
) -> None:
    first, second = rpc_servers
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(llama_model(4))  # llama.cpp does not load it
    told = f"GPUs and their shares: RPC1 ({second}) 3, RPC0 ({first}) 1\n"
    options = ["--text", TEXT, "--chunks", "1", "--ctx", "64", "--json", *on(rpc_servers, "3,1")]
    for model in (stories, broken):
        done = surgeon("perplexity", model, *options, "--device", "RPC1,RPC0")
        assert done.stderr.startswith(told)
        assert (done.returncode == 0) == (model is stories)
    used = measure(surgeon, stories, *on(rpc_servers, "3,1"), "--device", "RPC1,RPC0")["devices"]
    blocks = {use["device"]: use["blocks"] for use in used}
    assert blocks == {"CPU": [], "RPC1": [0, 1, 2, 3, 4], "RPC0": []}


def test_three_shares_for_two_devices(stories: Path, surgeon: Run, rpc_servers: Servers) -> None:
    options = ["--text", TEXT, "--chunks", "1", "--ctx", "64", *on(rpc_servers, "1,1,2")]
    done = surgeon("perplexity", stories, *options)
    assert (done.returncode, done.stdout) == (2, "")
    problem = "the tensor split 1,1,2 names 3 devices, and llama.cpp finds 2 GPUs: RPC0, RPC1 ("
    assert f"error: {problem}" in done.stderr
    allowed = surgeon("perplexity", stories, *options, "--allow-cpu")
    assert f"warning: {problem}" in allowed.stderr
    assert f"RPC0 ({rpc_servers[0]}) 1, RPC1 ({rpc_servers[1]}) 1\n" in allowed.stderr
    assert allowed.returncode == 0


def test_the_cpu_alone_though_there_are_servers(
    stories: Path, surgeon: Run, rpc_servers: Servers
) -> None:
    hosts = ",".join(rpc_servers)
    used = measure(surgeon, stories, "--rpc", hosts, "--device", "none")["devices"]
    assert [use["device"] for use in used] == ["CPU"]


def test_a_device_without_room(smollm2: Path, surgeon: Run) -> None:
    with rpc_server("50_000_000") as server:
        options = ["--rpc", server, "--text", TEXT, "--chunks", "1", "--ctx", "64"]
        done = surgeon("perplexity", smollm2, *options)
    assert done.returncode == 6
    assert "cannot load it, out of memory" in done.stderr
    assert done.stderr.count("error:") == 1
