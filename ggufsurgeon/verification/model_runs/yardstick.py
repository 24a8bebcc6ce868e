"""The noise that a written file may differ from its source by: that of the source by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.model_runs.equivalence import NO_NOISE, Noise, Sample, noise_between
from ggufsurgeon.verification.model_runs.model_run import SampledRun, on_other_devices


def measure_noise(
    source: SampledRun,
    patched: SampledRun,
    path: LayerPath,
    output: int,
    run_on_cpu: Callable[[], Sample | None],
) -> Noise | None:
    """The noise of the source on the devices of both runs; None where it cannot be measured.

    CPUs alone have none. Where a block of the layer path, or the output, which is that of the
    source `output`, runs on another kind of device in the written file than in the source, as a
    split by layers has it, kernels differ too, and the source as `run_on_cpu` gives it is compared
    as well.
    """
    if not on_other_devices(source.run.devices) and not on_other_devices(patched.run.devices):
        return NO_NOISE
    if source.noise is None or source.plain is None:
        return None
    if _are_placed_alike(source.uses, patched.run.devices, path, output):
        return source.noise
    on_cpu = run_on_cpu()
    if on_cpu is None:
        return None
    of_kernels = noise_between(source.plain, on_cpu)
    return max(source.noise, of_kernels, key=lambda noise: noise.max_abs_diff)


def _are_placed_alike(
    sources: Sequence[Sequence[DeviceUse]],
    patched: Sequence[DeviceUse],
    path: LayerPath,
    output: int,
) -> bool:
    of_sources, of_patched = [_kinds(uses) for uses in sources], _kinds(patched)
    if of_sources[output].get(None) != of_patched.get(None):
        return False
    return all(
        of_sources[step.source].get(step.block) == of_patched.get(position)
        for position, step in enumerate(path.steps)
    )


def _kinds(devices: Sequence[DeviceUse]) -> dict[int | None, str]:
    """The description of the device of each block, and under None of the output."""
    kinds: dict[int | None, str] = {}
    for use in devices:
        kinds |= dict.fromkeys(use.blocks, use.description)
        if use.has_output:
            kinds[None] = use.description
    return kinds
