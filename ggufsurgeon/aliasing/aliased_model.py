"""A layer path over a loaded model, run as llama.cpp runs the patched file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ggufsurgeon.aliasing.empty_load import EmptyLoad, EmptyWeight, load_empty
from ggufsurgeon.aliasing.placement import Placement, placements, split_beside
from ggufsurgeon.aliasing.shared_tensors import PlannedTensor, planned_tensors
from ggufsurgeon.aliasing.virtual_file import opened_virtual_file
from ggufsurgeon.container.codec import parse_header
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.engine.context import uses_flash_attention
from ggufsurgeon.engine.high_level.llama_over import llama_over
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.tensor import buffer_of, give_memory_of, is_in_host_memory
from ggufsurgeon.engine.tensor_map import weights_of
from ggufsurgeon.errors import AliasingUnavailableError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.planning.planner import PatchPlan, plan_patch


class AliasedModel(Model):
    """The patched model over the weights of its loaded source. Made by `alias`.

    It is freed behind its `with` block, by `free`, by the garbage collector, or with its source;
    the source is not collected before. It decodes when neither its source nor another aliased
    model of it does.
    """

    def __init__(self, source: Model, planned: PatchPlan, load: EmptyLoad) -> None:
        super().__init__(load.handle, source.path, source.options, load.use, source.native)
        self._write_plan = planned.write_plan
        self.source = source
        self.layer_path = planned.path
        """The source's block of each position, MTP blocks included."""

    def __enter__(self) -> AliasedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    @cached_property
    def file(self) -> GgufFile:
        """The header of the planned file, which no file on disk has."""
        plan = self._write_plan
        header, n_bytes = parse_header(plan.header, str(self.path))
        digest = hashlib.sha256(plan.header[:n_bytes]).hexdigest()
        layout = lay_out(header, n_bytes, plan.n_bytes, str(self.path))
        return GgufFile(self.path, header, n_bytes, digest, layout)

    def placements(self) -> tuple[Placement, ...]:
        """Where the weights and the cache of each position are."""
        return placements(self.layer_path.blocks, self.source.devices(), self.devices())

    def llama(self, **options: Any) -> Any:
        """A `llama_cpp.Llama` with a context of its own; `options` are those of that class."""
        return llama_over(self, **options)


def alias(model: Model, path: AnyPath, *, scale_weights: bool = False) -> AliasedModel:
    """The model of a layer path over the weights of `model`.

    Nothing is written, and no more is read than what a patch would not copy as it is. Raises
    RefusedError and UsageError as `plan_patch`, UsageError for a file that has changed since it was
    loaded, and AliasingUnavailableError where aliased models cannot be: the path
    can then be run routed.
    """
    _check_is_source(model)
    planned = plan_patch(model.file, path, scale_weights=scale_weights)
    tensors = tuple(planned_tensors(planned.write_plan, model.file))
    made = [tensor for tensor in tensors if tensor.shared_with is None]
    with model.native.lock:
        model.on_trial()
        split = split_beside(model.options, planned.path.blocks, model.devices())
        with opened_virtual_file(planned.write_plan, made) as file:
            load = load_empty(file, model.path, [tensor.name for tensor in made], split)
        aliased = AliasedModel(model, planned, load)
        aliased.on_suspect = model.on_suspect
        try:
            _share_weights(aliased, load, tensors)
            if any(placement.is_apart for placement in aliased.placements()):
                # llama.cpp would do without, since it is another device that computes attention.
                aliased.flash_attention = uses_flash_attention(model)
        except BaseException:
            aliased.free()
            raise
    return aliased


def _check_is_source(model: Model) -> None:
    """Raise UsageError unless `model` has the weights of its file, under their names."""
    if isinstance(model, AliasedModel):
        raise UsageError(
            f"{model.path}: this model is aliased and has its blocks in another order",
            hint="Give the model that it was made from: its `source`.",
        )
    model.check_unchanged()


def _share_weights(
    aliased: AliasedModel, load: EmptyLoad, tensors: Sequence[PlannedTensor]
) -> None:
    """Give each empty weight the memory of the source's, and check that none is left."""
    original = {tensor.name: tensor.shared_with for tensor in tensors}
    there = _addresses(aliased.source)
    for weight in load.weights:
        give_memory_of(_source_of(weight, original[weight.name], there), weight.address)
    left = [w.name for w in weights_of(aliased.handle) if buffer_of(w.address) in load.buffers]
    if left:  # llama.cpp would end the process when it makes a context
        raise AliasingUnavailableError(f"tensors were not shared: {', '.join(left)}")


def _addresses(source: Model) -> Mapping[str, Sequence[int]]:
    """The source's tensors by name. Of two by one name the first is the one that rows are read of.

    Rows are read on the CPU, from memory of the plain layout; the output may be on a device, or
    repacked (src/llama-model.cpp:1605).
    """
    found: dict[str, list[int]] = defaultdict(list)
    for name, address in weights_of(source.handle):
        found[name].append(address)
    return {name: sorted(all_, key=is_in_host_memory, reverse=True) for name, all_ in found.items()}


def _source_of(
    weight: EmptyWeight, original: str | None, there: Mapping[str, Sequence[int]]
) -> int:
    if original is None or original not in there:
        raise AliasingUnavailableError(
            f"the loaded source has no tensor that {weight.name} could share"
        )
    return there[original][-1 if weight.is_second else 0]
