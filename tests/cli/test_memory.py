"""What `plan` says of memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.cli.output.terminal import n_bytes_text
from ggufsurgeon.container.gguf_file import open_gguf
from tests.conftest import ROOT, Run
from tests.models.expanding import expand, expand_named


def plan(surgeon: Run, model: Path, *options: str) -> dict[str, Any]:
    done = surgeon("plan", model, "--window", "1:3", "--json", *options)
    assert done.returncode == 0, done.stderr
    memory: dict[str, Any] = json.loads(done.stdout)["memory"]
    return memory


def test_one_device_holds_all_but_the_input(stories: Path, surgeon: Run) -> None:
    memory = plan(surgeon, stories)
    cpu, gpu = memory["after"]
    assert (cpu["device"], cpu["blocks"], gpu["device"]) == ("CPU", [], "GPU 0")
    assert (gpu["blocks"], gpu["has_output"]) == (list(range(7)), True)
    assert memory["n_ctx"] == 2048  # the model's, less than 4096
    assert gpu["fits"] is None


def test_what_repeats_add(stories: Path, surgeon: Run) -> None:
    memory = plan(surgeon, stories)
    before, after = memory["before"][1], memory["after"][1]
    n_heads, head_size, f16 = 4, 8, 2
    kv_of_a_block = 2 * n_heads * head_size * f16 * 2048
    assert after["n_bytes_kv"]["f16"] - before["n_bytes_kv"]["f16"] == 2 * kv_of_a_block
    n_weights = 64 * (64 + 32 + 32 + 64 + 3 * 172 + 2)  # Q, K, V, output, FFN, norms
    assert after["n_bytes_weights"] - before["n_bytes_weights"] == 2 * 4 * n_weights


def test_a_boundary_that_moves(smollm2: Path, surgeon: Run) -> None:
    done = surgeon("plan", smollm2, "--window", "10:17", "--tensor-split", "1,1")
    assert "\n GPU 0    0..18 " in done.stdout
    assert "\n GPU 1    19..36, output " in done.stdout
    assert "--tensor-split 21,17 balances the bytes" in done.stdout


def test_tables_of_memory_fit_80_columns(smollm2: Path, surgeon: Run) -> None:
    options = ["--window", "10:17", "-ts", "1,1", "--memory", "24GB,100GB", "--ctx", "8192"]
    told = surgeon("plan", smollm2, *options).stdout
    tables = told[told.index("Memory, predicted") : told.index("note:")]
    assert max(map(len, tables.splitlines())) <= 80
    assert tables.count("GPU 1") == 3


@pytest.mark.parametrize(
    ("options", "suggested"),
    [
        (["--tensor-split", "1,1"], [19, 14]),
        (["--tensor-split", "1,1", "--memory", "1GB,3GB"], [9, 24]),
        (["--tensor-split", "19,14", "--memory", "2GB,2GB"], None),
        (["--tensor-split", "19,14"], None),
        (["--tensor-split", "1"], None),
        (["--tensor-split", "1,1", "--n-gpu-layers", "0"], None),
    ],
)
def test_a_suggestion_once_taken_is_not_made_again(
    options: list[str], suggested: list[int] | None, smollm2: Path, surgeon: Run
) -> None:
    assert plan(surgeon, smollm2, *options)["suggested_tensor_split"] == suggested


@pytest.mark.parametrize(
    ("memory", "fits"),
    [("2GB,2GB", [True, True]), ("2GiB,1000MB", [True, False]), ("1GB,1.3g", [False, True])],
)
def test_whether_it_fits(memory: str, fits: list[bool], smollm2: Path, surgeon: Run) -> None:
    _, *gpus = plan(surgeon, smollm2, "--memory", memory, "--tensor-split", "1,1")["after"]
    assert [gpu["fits"] for gpu in gpus] == fits


def test_memory_alone_is_the_split(smollm2: Path, surgeon: Run) -> None:
    _, *gpus = plan(surgeon, smollm2, "--memory", "30GB,10GB")["after"]
    assert [len(gpu["blocks"]) for gpu in gpus] == [25, 7]


def test_a_cache_that_is_not_known(tmp_path: Path, surgeon: Run) -> None:
    header = ROOT / "fixtures/arch_headers/deepseek32-moe.gguf"
    model = expand(header, tmp_path / "model.gguf", seed=1)
    _, gpu = plan(surgeon, model, "--memory", "4GB")["after"]
    assert gpu["n_bytes_weights"] > 0
    assert (gpu["n_bytes_kv"]["f16"], gpu["n_bytes"], gpu["fits"]) == (None, None, None)
    told = surgeon("plan", model, "--window", "1:3").stdout
    assert "what this architecture caches is not known" in told


@pytest.mark.parametrize("option", ["24GB,x", "", "0", "-1GB", "1e9", "24GB;24GB", "24 QB", "٣GB"])
def test_memory_that_is_none(option: str, stories: Path, surgeon: Run) -> None:
    done = surgeon("plan", stories, "--window", "1:3", f"--memory={option}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected the size of each device, with its unit, such as 24GB,24GB" in done.stderr


def test_memory_and_split_that_disagree(stories: Path, surgeon: Run) -> None:
    options = ["--memory", "1GB", "--tensor-split", "1,1"]
    done = surgeon("plan", stories, "--window", "1:3", *options)
    assert done.returncode == 2
    assert (
        "--memory lists 1 size, --tensor-split 2 shares: expected one for each GPU" in done.stderr
    )


@pytest.mark.parametrize(
    "split", ["1e39,1", "1e-50", "0,0", "inf", "nan,1", "-1,2", "", "1,,1", "x"]
)
def test_shares_that_are_none(split: str, stories: Path, surgeon: Run) -> None:
    done = surgeon("plan", stories, "--window", "1:3", f"--tensor-split={split}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected shares, for instance 3,1" in done.stderr


def test_both_ways_to_count_weights_on_the_cpu(stories: Path, surgeon: Run) -> None:
    """The repeats of blocks 1 and 2 lie behind the output, which is not on the CPU."""
    options = ("--n-gpu-layers", "3")
    cpu, gpu = plan(surgeon, stories, *options)["after"]
    file = open_gguf(stories)
    n_block = 64 * (64 + 32 + 32 + 64 + 3 * 172 + 2) * 4
    assert cpu["blocks"] == [0, 1, 2, 3, 4] and gpu["blocks"] == [5, 6]
    assert cpu["n_bytes_weights"] == 512 * 64 * 4 + 5 * n_block
    assert cpu["n_bytes_mapped"] == file.layout.data_n_bytes + 2 * n_block
    told = surgeon("plan", stories, "--window", "1:3", *options).stdout
    counts = f"it reports {n_bytes_text(cpu['n_bytes_mapped'])} where the table counts "
    assert f"{counts}{n_bytes_text(cpu['n_bytes_weights'])}\n" in told
    assert "one piece" not in surgeon("plan", stories, "--window", "1:3").stdout


def test_an_aliased_run_costs_what_changes_alone(
    stories: Path, surgeon: Run, tmp_path: Path
) -> None:
    plain = surgeon("plan", stories, "--window", "1:3", "--json")
    assert json.loads(plain.stdout)["memory"]["n_bytes_aliased_weights"] == 0
    sliced = expand_named("gemma3n-dense", tmp_path / "sliced.gguf")
    made = json.loads(surgeon("plan", sliced, "--window", "21:23", "--json").stdout)
    names = {"per_layer_token_embd.weight", "per_layer_model_proj.weight"}
    gs.open(sliced).plan(gs.repeat("21:23")).write(tmp_path / "written.gguf")
    file = open_gguf(tmp_path / "written.gguf")
    sizes = zip(file.header.tensors, file.layout.tensor_n_bytes, strict=True)
    expected = sum(n_bytes for tensor, n_bytes in sizes if tensor.name in names)
    assert made["memory"]["n_bytes_aliased_weights"] == expected > 0


def test_experts_on_the_cpu(tmp_path: Path, surgeon: Run) -> None:
    """Those of the first blocks of each file; a block's experts are 2359344 bytes, padded."""
    moe = expand_named("qwen3moe-moe", tmp_path / "moe.gguf")
    n_experts = 3 * (384 * 256 * 2 * 4 + 2 * 32)  # matrices of two experts, each with 2 scales
    plain, moved = (plan(surgeon, moe, *options) for options in ((), ("--n-cpu-moe", "9")))
    for key, n_blocks in (("before", 8), ("after", 9)):
        for device, sign in ((0, 1), (1, -1)):
            weights = [each[key][device]["n_bytes_weights"] for each in (plain, moved)]
            assert weights[1] - weights[0] == sign * n_blocks * n_experts
    every = plan(surgeon, moe, "--cpu-moe")["after"][0]["n_bytes_weights"]
    assert every == plain["after"][0]["n_bytes_weights"] + 10 * n_experts
    told = surgeon("plan", moe, "--window", "1:3", "--n-cpu-moe", "9")
    assert "note: --n-cpu-moe 9 counts blocks as the loaded file has them" in told.stdout
    assert "tensor overrides put 72 tensors (18.87 MB) on CPU" in told.stderr


def test_overrides_to_other_gpus(tmp_path: Path, surgeon: Run) -> None:
    moe = expand_named("qwen3moe-moe", tmp_path / "moe.gguf")
    options = ("-ts", "1,1", "-ot", "exps=CUDA1,token_embd=CUDA0")
    cpu, first, second = plan(surgeon, moe, *options)["after"]
    assert cpu["n_bytes_weights"] == 0
    assert second["n_bytes_weights"] > 10 * 2359488 > first["n_bytes_weights"] > 256 * 128 * 4


@pytest.mark.parametrize("buffer", ["CUDA2", "RPC0[127.0.0.1:50052]", "cpu", "Metal"])
def test_overrides_to_no_device(buffer: str, stories: Path, surgeon: Run) -> None:
    options = ["-ts", "1,1", "-ot", f"attn={buffer}"]
    done = surgeon("plan", stories, "--window", "1:3", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: the buffer {buffer} is of no device: there are the CPU and 2" in done.stderr
