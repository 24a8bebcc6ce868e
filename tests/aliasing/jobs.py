"""Jobs over aliased models, for runners: the session keeps the source, a job makes the rest."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.aliasing.placement import Placement, split_beside
from ggufsurgeon.engine.context import Batch, Results, opened_context
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.graph.tensor import is_in_host_memory
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.engine.tensor_map import weights_of
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session
from tests.aliasing.opening import alias_along

TOKENS = np.arange(1, 49, dtype=np.int32)


class Ran(NamedTuple):
    """An aliased model beside the written file."""

    is_equal: bool
    source: tuple[DeviceUse, ...]
    aliased: tuple[DeviceUse, ...]
    placements: tuple[Placement, ...]


def logits_of(model: Model) -> Results:
    with opened_context(model, 64, 64) as context:
        return np.array(context.decode(Batch.of(TOKENS)))


def run_beside_written(
    session: Session, file: Path, path: str, written: Path, devices: Devices, _reporter: Reporter
) -> Ran:
    expected = logits_of(session.model(written, devices))
    session.release(written)
    source = session.model(file, devices)
    with alias_along(source, path) as model:
        is_equal = np.array_equal(logits_of(model), expected)
        return Ran(is_equal, source.devices(), model.devices(), model.placements())


def gpus_beside(session: Session, file: Path, devices: Devices, _reporter: Reporter) -> list[str]:
    """Names of the GPUs that an aliased model is loaded on; a context is opened on each."""
    source = session.model(file, devices)
    path = LayerPath.identity(source.n_blocks)
    return [gpu.name for gpu in split_beside(devices, path, [source.devices()], 0).gpus]


def answer(
    session: Session, file: Path, path: str, prompt: str, reporter: Reporter
) -> tuple[int, str]:
    """The identity of the source, and what the model says; each piece is emitted."""
    source = session.model(file, Devices(n_threads=1))
    with alias_along(source, path) as model:
        ask = {"max_tokens": 8, "temperature": 0.0, "stream": True}
        parts = model.llama(n_ctx=128).create_completion(prompt, **ask)
        pieces = [part["choices"][0]["text"] for part in parts]
    for piece in pieces:
        reporter.emit(piece)
    return id(source), "".join(pieces)


def decode_length(session: Session, file: Path, path: str, n: int, _reporter: Reporter) -> None:
    source = session.model(file, Devices())
    with alias_along(source, path) as model, opened_context(model, n, n) as context:
        context.decode(Batch.of(np.zeros(n, dtype=np.int32)))


def run_several_beside_written(
    session: Session, models: ModelPaths, path: str, written: Path, devices: Devices, _: Reporter
) -> tuple[Ran, bool, bool]:
    """Several models beside the written file, aliased; whether they are equal to it routed; and
    whether the output matrix is on a device."""
    expected = logits_of(session.model(written, devices))
    session.release(written)
    sources = models.loaded(session, devices)
    routed = route(sources, LayerPath(path)).logits(TOKENS)
    with alias(sources, LayerPath(path)) as model:
        is_equal = np.array_equal(logits_of(model), expected)
        used = sources.devices_in_turn(), model.devices(), model.placements()
        last = [address for name, address in weights_of(model.handle) if name == "output.weight"]
        is_apart = not any(map(is_in_host_memory, last))
    return Ran(is_equal, *used), np.array_equal(routed, expected), is_apart
