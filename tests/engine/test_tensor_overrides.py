"""Tensors that options put elsewhere than their block: experts on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.installation.library import log_read_by
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.sizing.prediction import DeviceSettings, footprint_of, predict
from tests.cli.test_golden import normalised
from tests.conftest import ROOT, Run
from tests.engine.test_devices import MIB_ROUNDING, Servers
from tests.models.expanding import expand_named

TEXT = str(ROOT / "ggufsurgeon/verification/texts/shakespeare.txt")
SHORT = ("--text", TEXT, "--chunks", "1", "--ctx", "64", "--threads", "1", "--json")
LONGER = ("--text", TEXT, "--chunks", "4", "--ctx", "64", "--threads", "1", "--json")


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 8 blocks; each has 2 experts, whose matrices are most of its weights."""
    return expand_named("qwen3moe-moe", tmp_path_factory.mktemp("moe") / "moe.gguf")


def overridden(model: Path, devices: Devices) -> set[str]:
    """Names of the tensors that llama.cpp's log says were put elsewhere."""
    lines: list[str] = []
    with log_read_by(lines.append), loaded_model(model, devices):
        return {line.split()[1] for line in lines if "buffer type overridden to CPU" in line}


def experts(model: Path, n_blocks: int) -> set[str]:
    return {
        tensor.name
        for tensor in open_gguf(model).header.tensors
        if "_exps." in tensor.name and int(tensor.name.split(".")[1]) < n_blocks
    }


@pytest.mark.parametrize(("n_cpu_moe", "n_blocks"), [(0, 0), (2, 2), (8, 8), (10**9, 8), (-1, 8)])
def test_experts_of_the_first_blocks(n_cpu_moe: int, n_blocks: int, moe: Path) -> None:
    found = overridden(moe, Devices(n_cpu_moe=n_cpu_moe))
    assert found == experts(moe, n_blocks)
    assert len(found) == 9 * n_blocks  # 3 matrices, each with 2 scales


def test_overrides_by_expression(moe: Path) -> None:
    devices = Devices(override_tensors=((r"blk\.[12]\.attn_q\.", "CPU"), ("^output", "CPU")))
    names = {f"blk.{block}.attn_q.{part}" for block in (1, 2) for part in ("weight", "bias")}
    scales = {f"blk.{b}.attn_q.{part}" for b in (1, 2) for part in ("scale", "input_scale")}
    assert overridden(moe, devices) == names | scales | {"output.weight", "output_norm.weight"}


def test_an_expression_that_only_python_knows(moe: Path) -> None:
    with (
        pytest.raises(UsageError, match="cannot read a tensor override"),
        loaded_model(moe, Devices(override_tensors=(("(?<=q)x", "CPU"),))),
    ):
        pass


OPTIONS = [("--n-cpu-moe", "3"), ("--cpu-moe",), ("-ot", r"blk\.0=CPU,exps=CPU", "-ot", "attn=CPU")]


@pytest.fixture(scope="module")
def measured(moe: Path) -> str:
    """The scores of the model with repeated blocks, without overrides."""
    return _scores(moe)


@pytest.mark.parametrize("options", OPTIONS)
def test_results_are_the_same_to_the_bit(
    options: tuple[str, ...], moe: Path, measured: str
) -> None:
    assert _scores(moe, *options) == measured


def _scores(moe: Path, *options: str) -> str:
    arguments = ["perplexity", str(moe), *LONGER, "--window", "2:4", "--details", *options]
    command = [sys.executable, "-m", "ggufsurgeon", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert bool(options) == (") on CPU\n" in done.stderr)
    found = normalised(json.loads(done.stdout))
    return json.dumps({key: value for key, value in found.items() if "devices" not in key})


def test_overrides_that_move_nothing_are_told(stories: Path, surgeon: Run) -> None:
    options = ("--n-cpu-moe", "2", "-ot", "zz=CPU")
    for command in (("perplexity", stories, *SHORT), ("plan", stories, "--window", "1:3")):
        done = surgeon(*command, *options)
        assert done.returncode == 0
        assert f"warning: {stories} has no tensors for --override-tensor zz=CPU\n" in done.stderr
        assert f"warning: {stories} has no tensors for experts on the CPU\n" in done.stderr


def test_an_override_that_another_one_precedes_moves_no_less(moe: Path, surgeon: Run) -> None:
    done = surgeon("plan", moe, "--window", "1:3", "-ncmoe", "99", "-ot", "exps=CPU")
    assert done.returncode == 0
    assert "warning" not in done.stderr and ") on CPU\n" in done.stderr


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("exps", "--override-tensor 'exps': expected REGEX=BUFFER, for instance exps=CPU"),
        ("a{1,2}=CPU", "--override-tensor 'a{1,2}=CPU': expected REGEX=BUFFER"),
        ("exps=CUDA7", "the tensor override exps=CUDA7 names a buffer that is not there"),
        ("exps(=CPU", "the tensor override 'exps(' is no regular expression: missing )"),
    ],
)
def test_overrides_that_are_none(override: str, problem: str, stories: Path, surgeon: Run) -> None:
    done = surgeon("perplexity", stories, *SHORT, "-ot", override)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {problem}" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-ncmoe", "3"), ("-ot", "ffn_down_exps=CPU,exps=RPC0")])
def test_two_devices_hold_what_was_predicted(
    options: tuple[str, ...], moe: Path, surgeon: Run, rpc_servers: Servers
) -> None:
    plain = surgeon("perplexity", moe, *SHORT)
    there = ("--rpc", ",".join(rpc_servers), "--tensor-split", "1,1", *options)
    measured = json.loads(surgeon("perplexity", moe, *SHORT, *there).stdout)
    assert measured["perplexity"] == json.loads(plain.stdout)["perplexity"]
    if options[0] == "-ncmoe":
        devices = Devices(n_cpu_moe=3)
    else:
        devices = Devices(override_tensors=(("ffn_down_exps", "CPU"), ("exps", "RPC0")))
    settings = DeviceSettings((1, 1), n_ctx=64, overrides=devices.overrides)
    loads = predict(footprint_of(open_gguf(moe), devices.overrides), settings)
    used = {use["device"]: use["n_bytes_weights"] for use in measured["devices"]}
    assert used["CPU"] == pytest.approx(loads[0].n_bytes_mapped, abs=MIB_ROUNDING)
    for load, name in zip(loads[1:], ("RPC0", "RPC1"), strict=True):
        assert used[name] == pytest.approx(load.n_bytes_weights, abs=MIB_ROUNDING)
