"""Routed = written as a check of files, and that it finds what the structure cannot show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.conftest import ROOT, Run
from tests.models.expanding import expand
from tests.models.naive import patch_naively

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.verification.model_runs.equivalence import (
    NO_NOISE,
    Equivalence,
    Noise,
    Sample,
    compare,
    draw_prompt,
    noise_between,
    take_control,
    take_sample,
)
from ggufsurgeon.verification.model_runs.runs import run_both

pytestmark = pytest.mark.slow

PATH = LayerPath("0..4,3..7")


def sample(results: list[list[float]], are_logits: bool = True) -> Sample:
    values = np.array(results, dtype=np.float32)
    return Sample(np.zeros(len(values), dtype=np.int32), values, are_logits)


def equivalence(source: Path, patched: Path) -> Equivalence:
    file, settings = open_gguf(patched), TextSettings(32, 1)
    runs = run_both([open_gguf(source)], file, PATH, None, settings, Devices(), NO_PROGRESS)
    assert runs.equivalence is not None
    return runs.equivalence


@pytest.mark.parametrize("stem", ["gemma3-dense", "bert-dense", "llada-dense", "qwen3next-moe"])
def test_naive_files_are_found_where_they_are_wrong(stem: str, tmp_path: Path) -> None:
    source = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "source.gguf", 3)
    patch(source, tmp_path / "ours.gguf", PATH)
    ours = equivalence(source, tmp_path / "ours.gguf")
    assert ours.ok and ours.max_abs_diff == 0.0 and ours.n_tokens == 128
    if stem == "gemma3-dense":  # the period of its windows
        patch_naively(source, tmp_path / "naive.gguf", PATH)
        naive = equivalence(source, tmp_path / "naive.gguf")
        assert not naive.ok and naive.max_abs_diff > 0


def test_the_prompt_is_longer_than_a_sliding_window(tmp_path: Path) -> None:
    for stem, n_prompt in (("gemma3-dense", 128), ("llama-dense", 128)):
        path = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "model.gguf", 0)
        with loaded_model(path, Devices()) as model:
            assert len(draw_prompt(model, b"")) == n_prompt > model.n_swa
            for n_swa, expected in ((64, 128), (65, 640), (512, 640), (1024, 1152), (4096, 4224)):
                model.n_swa, model.n_ctx_train = n_swa, 100_000
                assert len(draw_prompt(model, b"")) == expected > n_swa
            model.n_ctx_train = 700
            assert len(draw_prompt(model, b"")) == 700


def test_it_is_told(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    surgeon("patch", stories, "patched.gguf", "--window", "1:3")
    done = surgeon("verify", "patched.gguf", "--source", stories, "--json")
    told = json.loads(done.stdout)
    assert (
        told["equivalence"]
        == told["aliased_equivalence"]
        == {
            "ok": True,
            "max_abs_diff": 0.0,
            "mean_kl": 0.0,
            "n_tokens": 128,
            "n_prompt": 128,
            "noise": {"max_abs_diff": 0.0, "mean_kl": 0.0},
        }
    )


def test_what_cannot_be_routed_is_not_called_proven(surgeon: Run, tmp_path: Path) -> None:
    source = expand(ROOT / "fixtures/arch_headers/talkie-dense.gguf", tmp_path / "source.gguf", 0)
    surgeon("patch", source, "patched.gguf", "--window", "0:3")
    done = surgeon("verify", "patched.gguf", "--source", source, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"] and told["equivalence"] is None
    (check,) = (check for check in told["checks"] if check["name"] == "routed = written")
    assert check["ok"] is None and "read what feeds block 0" in check["detail"]
    assert told["aliased_equivalence"]["max_abs_diff"] == 0.0, "proven all the same"


def test_one_bit_is_too_much_for_a_cpu_and_not_for_others() -> None:
    routed, written = sample([[1, 2, 3]]), sample([[1, 2, np.nextafter(3, 4, dtype=np.float32)]])
    assert compare(routed, routed, NO_NOISE).ok
    assert not compare(routed, written, NO_NOISE).ok
    assert compare(routed, written, None).ok
    assert not compare(routed, sample([[3, 2, 1]]), None).ok
    assert not compare(sample([[1]], False), sample([[1.1]], False), None).ok


def test_what_is_allowed_follows_the_noise_of_the_source() -> None:
    routed, written = sample([[1, 2, 3]]), sample([[1, 2, 3.01]])
    difference, kl = noise_between(routed, written)
    assert kl is not None and 0 < kl < 1e-4
    for factor, ok in ((1, True), (1 / 90, True), (1 / 110, False)):
        assert compare(routed, written, Noise(difference, kl * factor)).ok is ok
    one, other = sample([[1, 2]], False), sample([[1, 2.01]], False)
    for factor, ok in ((1, True), (1 / 9, True), (1 / 11, False)):
        assert compare(one, other, Noise(0.01 * factor, None)).ok is ok
    loud = Noise(9.0, 9.0)
    assert not compare(routed, sample([[3, 2, 1]]), loud).ok, "never more than without a control"


@pytest.mark.parametrize("stem", ["gemma3-dense", "gemma3n-dense", "bert-dense", "jamba-dense"])
def test_a_control_run_on_a_cpu_shows_no_noise(stem: str, tmp_path: Path) -> None:
    model = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "model.gguf", 3)
    with loaded_model(model, Devices(n_threads=1)) as source:
        n = source.n_blocks
        path = LayerPath.of([*range(n - 1), *range(n - 3, n)])
        prompt = draw_prompt(source, b"")
        plain, noise = take_control(source, path, prompt)
        assert noise.max_abs_diff == 0.0
        assert np.array_equal(plain.results, take_sample(source, None, prompt).results)


@pytest.mark.parametrize("stem", ["gemma2-dense", "gpt-oss-moe"])
def test_over_rpc_servers_on_cpus_files_are_equal_to_the_bit_or_wrong(
    stem: str, tmp_path: Path, rpc_servers: tuple[str, str]
) -> None:
    """The divergence of the naive files, of models with random weights, is below any constant."""
    devices = Devices(rpc=rpc_servers, tensor_split=(1, 1), n_threads=1)
    source = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "source.gguf", 3)
    patch(source, tmp_path / "ours.gguf", PATH)
    patch_naively(source, tmp_path / "naive.gguf", PATH)
    for name, ok in (("ours", True), ("naive", False)):
        file = open_gguf(tmp_path / f"{name}.gguf")
        runs = run_both([open_gguf(source)], file, PATH, None, None, devices, NO_PROGRESS)
        for found in (runs.equivalence, runs.aliased_equivalence):
            assert found is not None and found.noise == NO_NOISE
            assert found.ok is ok and (found.max_abs_diff == 0.0) is ok
            assert found.mean_kl is not None and found.mean_kl < 1e-6
        told = [check.detail for check in runs.checks if check.ok is False]
        assert all(one.endswith("of the source by itself are equal to the bit") for one in told)
        assert len(told) == (0 if ok else 2)


@pytest.mark.parametrize("noise", [NO_NOISE, None, Noise(1.0, 1.0), Noise(1.0, None)])
@pytest.mark.parametrize("are_logits", [True, False])
def test_what_is_no_number_equals_nothing(noise: Noise | None, are_logits: bool) -> None:
    for at in (0, 1):
        rows = [[1.0, 2.0], [3.0, 4.0]]
        rows[at][1] = float("nan")
        for one, other in ((rows, [[1.0, 2.0], [3.0, 4.0]]), (rows, rows)):
            samples = sample(one, are_logits), sample(other, are_logits)
            assert not compare(*samples, noise).ok


def test_divergence_is_that_of_the_distributions() -> None:
    rng = np.random.default_rng(0)
    routed, written = (rng.normal(0, 3, (20, 50)).astype(np.float32) for _ in range(2))
    p, q = (
        np.exp(x.astype(float)) / np.exp(x.astype(float)).sum(1)[:, None] for x in (routed, written)
    )
    expected = float((p * np.log(p / q)).sum(1).mean())
    found = compare(sample(routed.tolist()), sample(written.tolist()), None)
    assert found.mean_kl == pytest.approx(expected)


def test_tokens_that_are_masked_out_are_no_difference() -> None:
    masked = sample([[1, -np.inf, 2]])
    found = compare(masked, masked, NO_NOISE)
    assert found.ok and found.mean_kl == 0.0
