"""Devices that are asked for by count, share or name: told before loading, or missed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.devices.options import Devices
from ggufsurgeon.engine.devices.registry import offload_devices
from tests.conftest import ROOT, Run

TEXT = str(ROOT / "ggufsurgeon/verification/texts/shakespeare.txt")
SHORT = ("--text", TEXT, "--chunks", "1", "--ctx", "64", "--threads", "1", "--json")
MISSING = "llama.cpp finds 0 GPUs (llama-cpp-python "
FRONT_ENDS = {
    "perplexity": SHORT,
    "generate": ("--prompt", "Once", "--tokens", "2"),
    "chat": (),
    "serve": ("--port", "0"),
    "choose": ("--tasks", str(ROOT / "fixtures/tasks/choices.jsonl")),
    "scan": ("--arithmetic", "4", "--store", "scan.db"),
    "verify": (),
}


@pytest.fixture(autouse=True)
def no_gpu() -> None:
    if offload_devices((), None):
        pytest.skip("this machine has a GPU")


@pytest.mark.parametrize("command", FRONT_ENDS)
def test_a_gpu_that_is_missing_is_missed_wherever_a_model_runs(
    command: str, stories: Path, surgeon: Run
) -> None:
    options = [*FRONT_ENDS[command], "--n-gpu-layers", "99"]
    if command == "verify":
        options += ["--source", str(stories)]
    done = surgeon(command, stories, *options, stdin=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: 99 layers are to go to GPUs, and {MISSING}" in done.stderr
    told = done.stderr.splitlines()
    kinds = {"NVIDIA": "CUDA", "Apple": "METAL", "most others": "VULKAN"}
    lines = [line.split(" CMAKE_ARGS=") for line in told if "CMAKE_ARGS=" in line]
    assert [kind.strip() for kind, _ in lines] == list(kinds)
    for (_, command), backend in zip(lines, kinds.values(), strict=True):
        assert command.startswith(f"-DGGML_{backend}=on pip install --force-reinstall ")
    assert told[-1] == "  With --allow-cpu, the model runs on what is there."


@pytest.mark.parametrize("options", [("--tensor-split", "1,1"), ("-ts", "1,1", "-ngl", "99")])
def test_a_share_for_a_gpu_that_is_missing(
    options: tuple[str, ...], stories: Path, surgeon: Run
) -> None:
    done = surgeon("perplexity", stories, *SHORT, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: the tensor split 1,1 names 2 devices, and {MISSING}" in done.stderr


def test_the_cpu_where_it_is_allowed(stories: Path, surgeon: Run) -> None:
    plain = surgeon("perplexity", stories, *SHORT)
    options = ("--tensor-split", "1,1", "--n-gpu-layers", "99", "--allow-cpu")
    done = surgeon("perplexity", stories, *SHORT, *options)
    assert json.loads(done.stdout)["perplexity"] == json.loads(plain.stdout)["perplexity"]
    assert done.stderr.startswith("warning: the tensor split 1,1 names 2 devices, and")
    assert done.stderr.endswith("the model runs on what is there\n")


@pytest.mark.parametrize("options", [("-ngl", "-1"), ("-ngl", "0")])
def test_nothing_is_said_where_no_gpu_is_asked_for(
    options: tuple[str, ...], stories: Path, surgeon: Run
) -> None:
    done = surgeon("perplexity", stories, *SHORT, *options)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_device(stories: Path, surgeon: Run) -> None:
    """As in llama.cpp, the number of layers on GPUs then says nothing."""
    done = surgeon("perplexity", stories, *SHORT, "--device", "none", "-ngl", "99")
    assert (done.returncode, done.stderr) == (0, "GPUs: none, the model runs on the CPU\n")


@pytest.mark.parametrize("names", ["CUDA0", "CPU", "none,CUDA0"])
def test_a_device_that_is_not_there(names: str, stories: Path, surgeon: Run) -> None:
    done = surgeon("perplexity", stories, *SHORT, f"--device={names}", "--allow-cpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: devices {names}: there is no {names.replace(',', ', ')}; " in done.stderr
    assert "llama.cpp finds no GPU" in done.stderr


def test_names_that_are_none(stories: Path, surgeon: Run) -> None:
    done = surgeon("perplexity", stories, *SHORT, "--device=CUDA0,")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--device 'CUDA0,': expected names, such as CUDA0,CUDA1, or none" in done.stderr


def test_a_store_of_before_goes_on() -> None:
    """The fields of the first stores alone, unless others decide how scores are rounded."""
    first = {"n_gpu_layers", "tensor_split", "n_threads", "rpc"}
    assert set(Devices(allow_cpu=True, rpc_timeout_s=1).as_settings()) == first
    assert set(Devices(names=("CUDA0",)).as_settings()) == first | {"names"}
    assert set(Devices(n_cpu_moe=1).as_settings()) == first | {"n_cpu_moe"}


def test_a_build_for_gpus_that_finds_none_is_told_from_one_for_none(
    stories: Path, surgeon: Run, tmp_path: Path
) -> None:
    """The registry of a build for CUDA lists its backend, also without a device."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ggufsurgeon.engine.devices.registry as registry\n"
        "registry.backend_names = lambda: ('CUDA', 'CPU')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = surgeon("perplexity", stories, *SHORT, "-ngl", "1", env=environment)
    assert done.returncode == 2
    assert "This build is for CUDA, which finds no device: check the driver" in done.stderr
