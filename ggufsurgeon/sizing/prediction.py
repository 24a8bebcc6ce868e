"""Prediction of the memory that a model takes on each device, and of whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.layout import pad
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.tensor_overrides import TensorOverride
from ggufsurgeon.sizing.footprint import (
    CACHE_TYPES,
    INPUT,
    OUTPUT,
    SHARED,
    TIED,
    Footprint,
    Part,
    cache_n_bytes,
    footprint,
)
from ggufsurgeon.sizing.splitting import CPU, assign_layers, balanced_shares, device_of

MARGIN = 1 << 30
"""Bytes left free on each device for compute buffers, which are not predicted: the default
margin of llama.cpp's own fitting (`fit_params_target`, common/common.h:483)."""

CONTEXT_PADDING = 256
"""Tokens to a multiple of which contexts are padded (src/llama-context.cpp:290)."""


@dataclass(frozen=True)
class DeviceSettings:
    """Devices that a model is to run on, and the size of its context."""

    shares: tuple[float, ...] = (1.0,)
    """Share of the layers of each GPU: llama.cpp's tensor split."""
    n_gpu_layers: int = -1
    """Number of layers on GPUs, the output counted as one; all with -1."""
    n_ctx: int = 4096
    """Size of the context, in tokens."""
    memory: tuple[int, ...] = ()
    """Size of the memory of each GPU, in bytes; empty where it is not known."""
    overrides: tuple[TensorOverride, ...] = ()
    """Tensors that go to another device than that of their block."""


@dataclass(frozen=True)
class DeviceLoad:
    """Memory that a device needs; None for what this version does not know."""

    device: str
    blocks: tuple[int, ...]
    has_output: bool
    n_bytes_weights: int
    n_bytes_mapped: int
    """Size of the piece of the file from the first of the weights to the last, which llama.cpp maps
    as one on the CPU and on Metal (`get_mapping_range`, src/llama-model-loader.cpp:1449)."""
    n_bytes_kv: Mapping[str, int | None]
    """Size of the KV cache of the whole context, by its type."""
    n_bytes_kv_1k: Mapping[str, int | None]
    """Size of the KV cache of 1024 tokens, by its type."""
    n_bytes_state: int | None
    """Size of the recurrent state of one sequence."""
    n_bytes: int | None
    """Sum of weights, state and an f16 cache of the whole context."""
    n_bytes_memory: int | None = None
    """Size of the device's memory."""
    fits: bool | None = None
    """Whether `n_bytes` and MARGIN fit; None where memory or cache is not known."""


@dataclass(frozen=True)
class Prediction:
    """Loads of the source and of the patched model, and a split that balances the latter."""

    settings: DeviceSettings
    before: tuple[DeviceLoad, ...]
    after: tuple[DeviceLoad, ...]
    suggested_split: tuple[int, ...] | None
    has_windows: bool
    """Whether some blocks have a sliding window: their caches are counted with its size."""
    n_bytes_margin: int = MARGIN
    """Bytes of each device that `fits` leaves free, for compute buffers."""


def predict_patch(planned: PatchPlan, settings: DeviceSettings) -> Prediction:
    """The memory that a model takes before and after a patch."""
    header, layout = planned.write_plan.parsed
    before = footprint_of(planned.source, settings.overrides)
    n_mtp = find_blocks(file_of_plan(planned.source, planned.write_plan)).n_mtp
    patched = footprint(header, layout, len(planned.path), n_mtp, settings.overrides)
    return Prediction(
        settings,
        before=predict(before, settings),
        after=predict(patched, settings),
        suggested_split=suggest_split(patched, settings),
        has_windows=any(cache.window for cache in patched.caches or ()),
    )


def footprint_of(file: GgufFile, overrides: Sequence[TensorOverride] = ()) -> Footprint:
    """The footprint of the model in a file. Raises as `footprint`."""
    blocks = find_blocks(file)
    return footprint(file.header, file.layout, len(blocks), blocks.n_mtp, overrides)


def predict(model: Footprint, settings: DeviceSettings) -> tuple[DeviceLoad, ...]:
    """The load of the CPU, then of each GPU. Raises UsageError for an override to none of them."""
    layers = assign_layers(model.n_blocks, settings.shares, settings.n_gpu_layers)
    devices = range(CPU, len(settings.shares))
    return tuple(_load(model, settings, layers, device) for device in devices)


def _load(
    model: Footprint, settings: DeviceSettings, layers: Sequence[int], device: int
) -> DeviceLoad:
    blocks = _blocks_on(layers, device)
    parts = tuple(_parts(model, settings, layers, device))
    weights = sum(map(model.n_bytes, parts))
    kv = {kind: _kv(model, blocks, settings.n_ctx, kind) for kind in CACHE_TYPES}
    state = sum(4 * model.caches[n].n_state for n in blocks) if model.caches is not None else None
    has_memory = 0 <= device < len(settings.memory)
    memory = settings.memory[device] if has_memory else None
    known = (weights, kv["f16"], state)
    total = None if None in known else sum(part or 0 for part in known)
    return DeviceLoad(
        device="CPU" if device == CPU else f"GPU {device}",
        blocks=blocks,
        has_output=layers[-1] == device,
        n_bytes_weights=weights,
        n_bytes_mapped=_n_bytes_mapped(model, parts),
        n_bytes_kv=kv,
        n_bytes_kv_1k={kind: _kv(model, blocks, 1024, kind) for kind in CACHE_TYPES},
        n_bytes_state=state,
        n_bytes=total,
        n_bytes_memory=memory,
        fits=_fits(weights, total, memory),
    )


def _parts(
    model: Footprint, settings: DeviceSettings, layers: Sequence[int], device: int
) -> Iterator[Part]:
    """The parts of a model that a device holds, given the device of each layer."""
    blocks = _blocks_on(layers, device)
    has_output = layers[-1] == device
    yield from blocks
    if blocks:
        yield SHARED
    if device == CPU:
        yield INPUT
    elif has_output:
        yield TIED
    if has_output:
        yield OUTPUT
    for buffer in model.buffers:
        if device_of(buffer, len(settings.shares)) == device:
            yield buffer


def _blocks_on(layers: Sequence[int], device: int) -> tuple[int, ...]:
    return tuple(n for n, where in enumerate(layers[:-1]) if where == device)


def _n_bytes_mapped(model: Footprint, parts: Sequence[Part]) -> int:
    """Bytes from the first tensor of some parts to the last."""
    sizes = [model.parts[part] for part in parts if part in model.parts]
    end = max((size.end for size in sizes), default=0)
    return end - min((size.start for size in sizes), default=0)


def _kv(model: Footprint, blocks: Sequence[int], n_ctx: int, kind: str) -> int | None:
    if model.caches is None:
        return None
    n_cells = pad(n_ctx, CONTEXT_PADDING)
    parts = [cache_n_bytes(model.caches[n], n_cells, kind) for n in blocks]
    return None if None in parts else sum(part or 0 for part in parts)


def _fits(weights: int, total: int | None, memory: int | None) -> bool | None:
    if memory is None:
        return None
    if total is None:
        return False if weights + MARGIN > memory else None
    return total + MARGIN <= memory


def suggest_split(model: Footprint, settings: DeviceSettings) -> tuple[int, ...] | None:
    """A tensor split that gives each GPU bytes in proportion to its memory.

    Without known memory, equal shares stand for equal memory. llama.cpp counts layers, whatever
    their size, so repeated blocks move the boundary. None where the split is right already, and
    where the sizes of the GPUs are not known.
    """
    shares_alike = len(set(settings.shares)) == 1
    goals = settings.memory or (settings.shares if shares_alike else ())
    layers = assign_layers(model.n_blocks, settings.shares, settings.n_gpu_layers)
    n_bytes = [n for n, where in zip(_layers(model, settings), layers, strict=True) if where != CPU]
    if len(goals) < 2 or not n_bytes:
        return None
    balanced = balanced_shares(n_bytes, goals)
    return None if assign_layers(model.n_blocks, balanced, len(n_bytes)) == layers else balanced


def _layers(model: Footprint, settings: DeviceSettings) -> Iterator[int]:
    """Bytes of each block, with its cache where that is known, then of the output."""
    for n in range(model.n_blocks):
        kv = _kv(model, (n,), settings.n_ctx, "f16") or 0
        state = 4 * model.caches[n].n_state if model.caches is not None else 0
        yield model.n_bytes(n) + kv + state
    yield model.n_bytes(OUTPUT) + model.n_bytes(TIED)
