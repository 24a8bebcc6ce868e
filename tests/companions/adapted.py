"""Models that run with an adapter or control vectors: plain, and along a layer path."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import llama_cpp
import numpy as np

from ggufsurgeon.architectures.residual import residual_nodes
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.context import Batch, Context, Integers, Results, opened_context
from ggufsurgeon.engine.graph.taps import Taps
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.array_store import ArrayStore
from ggufsurgeon.routing.passes import Steps
from ggufsurgeon.routing.router import Router
from ggufsurgeon.routing.stage import Stage
from ggufsurgeon.routing.stages import Stages

Apply: TypeAlias = Callable[[Model, Context], None]
ONE_THREAD = Devices(n_threads=1)


def with_lora(adapter: Path) -> Apply:
    """Load an adapter and set it, as llama.cpp's programs do."""

    def apply(model: Model, context: Context) -> None:
        loaded = llama_cpp.llama_adapter_lora_init(model.handle, bytes(adapter))
        assert loaded, f"llama.cpp does not load {adapter}"
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(loaded)
        scales = (ctypes.c_float * 1)(1.0)
        assert llama_cpp.llama_set_adapters_lora(context.handle, adapters, 1, scales) == 0

    return apply


def with_vectors(vectors: Path) -> Apply:
    """Set control vectors, as common_control_vector_load and common_init_from_params do."""
    file = open_gguf(vectors)
    found = {
        int(tensor.name.removeprefix("direction.")): np.frombuffer(
            vectors.read_bytes(), np.float32, tensor.dims[0], file.offset_in_file(index)
        )
        for index, tensor in enumerate(file.header.tensors)
    }

    def apply(model: Model, context: Context) -> None:
        width = len(next(iter(found.values())))
        rows = np.zeros((max(found), width), np.float32)
        for block, vector in found.items():
            rows[block - 1] = vector
        data = rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        last = llama_cpp.llama_model_n_layer(model.handle)
        done = llama_cpp.llama_set_adapter_cvec(context.handle, data, rows.size, width, 1, last)
        assert done == 0

    return apply


@contextmanager
def _opened(
    file: Path, taps: Taps | None, n: int, apply: Apply | None
) -> Iterator[tuple[Model, Context]]:
    with loaded_model(file, ONE_THREAD) as model, opened_context(model, n, n, 1, taps) as context:
        if apply is not None:
            apply(model, context)
        yield model, context


def plain(file: Path, tokens: Integers, apply: Apply | None) -> Results:
    """Logits of a file as llama.cpp runs it."""
    with _opened(file, None, len(tokens), apply) as (_, context):
        return np.array(context.decode(Batch.of(tokens)))


def routed(file: Path, path: LayerPath, tokens: Integers, apply: Apply | None) -> Results:
    """Logits along a layer path of the unmodified model, which has the companion."""
    return routed_over([(file, apply)], path, tokens)


def routed_over(
    files: Sequence[tuple[Path, Apply | None]],
    path: LayerPath,
    tokens: Integers,
    outside: OutsideBlocks | None = None,
) -> Results:
    """Logits along a layer path over unmodified models, some of which have companions."""
    n, stage_of, models = len(tokens), dict[int, Stage](), list[Model]()
    with ExitStack() as stack, ArrayStore[Steps](1 << 24) as store:
        for file, apply in files:
            nodes = residual_nodes(open_gguf(file).header.architecture or "")
            taps = Taps(nodes.token_dim)
            model, context = stack.enter_context(_opened(file, taps, n, apply))
            stage_of[id(model)] = Stage(model, nodes, context, taps)
            models.append(model)
        with ExitStack() as inner:
            sources = Sources(tuple(models), outside)
            stages = Stages(sources, lambda model: nullcontext(stage_of[id(model)]), inner)
            (found,) = Router(stages, n, n, 1, store).logits(tokens, [path])
            return np.array(found)
