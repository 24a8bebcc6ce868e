"""Runs of layers: llama.cpp puts each layer where its weights are, as far as it can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.aliasing.device_split import CPU, MAX_LISTED, gpu_runs
from ggufsurgeon.sizing.splitting import assign_layers

N_GPUS = 3


def assigned(devices: list[int], n_gpus: int) -> list[int]:
    """The device of each layer when llama.cpp loads with the runs for `devices`."""
    runs = gpu_runs(devices, n_gpus)
    n_layers = [run.n_layers for run in runs]
    if not any(n_layers):  # nothing is on a GPU, and the shares do not count
        return [CPU] * len(devices)
    entries = assign_layers(len(devices) - 1, n_layers, sum(n_layers))
    return [runs[entry].device if entry != CPU else CPU for entry in entries]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1]),
        ([0, 1, 0, 1], [0, 1, 0, 1]),
        ([CPU, CPU, 0, 1], [CPU, CPU, 0, 1]),
        ([CPU, 0, 1, CPU, 0, 1], [CPU, 0, 1, 1, 0, 1]),
        ([0, CPU, CPU, CPU, 0], [CPU, CPU, CPU, CPU, 0]),
        ([CPU, CPU], [CPU, CPU]),
        ([1, 0, CPU], [1, 0, 0]),
    ],
)
def test_layers_are_where_their_weights_are(devices: list[int], expected: list[int]) -> None:
    assert assigned(devices, 2) == expected


@given(st.lists(st.integers(CPU, N_GPUS - 1), min_size=2, max_size=10))
def test_only_layers_on_the_cpu_behind_others_are_moved(devices: list[int]) -> None:
    found = assigned(devices, N_GPUS)
    n_apart = sum(here != asked for here, asked in zip(found, devices, strict=True))
    assert n_apart == min(
        sum(device != CPU for device in devices[:end])
        + sum(device == CPU for device in devices[end:])
        for end in range(len(devices) + 1)
    )


@given(st.lists(st.integers(CPU, N_GPUS - 1), min_size=2, max_size=60))
def test_every_gpu_is_listed_and_not_too_many(devices: list[int]) -> None:
    """A GPU without a layer may hold an output matrix; a context cannot have endless backends."""
    runs = gpu_runs(devices, N_GPUS)
    assert {run.device for run in runs} == set(range(N_GPUS))
    assert len(runs) <= MAX_LISTED
    assert len(assigned(devices, N_GPUS)) == len(devices)


def test_more_gpus_than_runs_stay_as_they_are() -> None:
    devices = [gpu for gpu in range(15) for _ in range(2)]
    assert assigned(devices, 15) == devices
