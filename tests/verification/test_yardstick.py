"""The noise of the source by itself: which runs it is measured by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.model_runs.equivalence import NO_NOISE, Noise, Sample
from ggufsurgeon.verification.model_runs.model_run import ModelRun, SampledRun
from ggufsurgeon.verification.model_runs.yardstick import measure_noise

PATH = LayerPath("0..1,1..2")
NOISE = Noise(0.001, 1e-7)
CPU = DeviceUse("CPU", "a CPU", (), False, 0, 0, 0, 0, 0)
GPU = replace(CPU, device="CUDA0", description="a GPU")


def results(*logits: float) -> Sample:
    return Sample(np.zeros(1, np.int32), np.array([logits], np.float32), True)


def ran(*devices: DeviceUse, noise: Noise | None = NOISE) -> SampledRun:
    plain = results(1, 2, 3)
    return SampledRun(ModelRun(4, "", devices=devices), plain, plain, plain, noise, (devices,))


def measured(
    source: SampledRun, patched: SampledRun, on_cpu: Sample | None = None
) -> tuple[Noise | None, int]:
    """The noise, and how often the source was run on the CPU."""
    runs = []

    def run() -> Sample | None:
        runs.append(1)
        return on_cpu

    return measure_noise(source, patched, PATH, 0, run), len(runs)


def on(device: DeviceUse, *blocks: int, output: bool = False) -> DeviceUse:
    return replace(device, blocks=blocks, has_output=output)


WHOLE = ran(on(CPU), on(GPU, 0, 1, 2, output=True)), ran(on(CPU), on(GPU, 0, 1, 2, 3, output=True))
MOVED = ran(on(CPU, 0), on(GPU, 1, 2, output=True)), ran(on(CPU, 0, 1), on(GPU, 2, 3, output=True))


def test_cpus_have_none() -> None:
    cpu = on(CPU, 0, 1, 2, output=True)
    assert measured(ran(cpu, noise=None), ran(on(CPU, 0, 1, 2, 3, output=True))) == (NO_NOISE, 0)


def test_that_of_taps_where_blocks_stay_on_their_kind_of_device() -> None:
    assert measured(*WHOLE) == (NOISE, 0)
    second = replace(GPU, device="CUDA1")
    source = ran(on(GPU, 0, 1), on(second, 2, output=True))
    assert measured(source, ran(on(GPU, 0), on(second, 1, 2, 3, output=True))) == (NOISE, 0)


def test_that_of_kernels_too_where_a_block_moves_to_another_kind() -> None:
    found, n_runs = measured(*MOVED, results(1, 2, 3.5))
    assert found is not None and n_runs == 1
    assert found.max_abs_diff == 0.5 and found.mean_kl is not None and found.mean_kl > 0.01
    assert measured(*MOVED, results(1, 2, 3)) == (NOISE, 1)
    source, _ = WHOLE
    moved_output = ran(on(CPU, output=True), on(GPU, 0, 1, 2, 3))
    assert measured(source, moved_output, results(1, 2, 3)) == (NOISE, 1)


def test_it_is_not_known_without_a_control_run() -> None:
    assert measured(*MOVED) == (None, 1)
    source, patched = WHOLE
    assert measured(source._replace(noise=None), patched) == (None, 0)
