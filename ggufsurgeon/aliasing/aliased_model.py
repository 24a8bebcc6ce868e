"""A layer path over loaded models, run as llama.cpp runs the patched file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ggufsurgeon.aliasing.empty_load import EmptyLoad, EmptyWeight, load_empty
from ggufsurgeon.aliasing.placement import Placement, placements, split_beside
from ggufsurgeon.aliasing.shared_tensors import PlannedTensor, SharedTensor, planned_tensors
from ggufsurgeon.aliasing.virtual_file import opened_virtual_file
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.engine.context import uses_flash_attention
from ggufsurgeon.engine.graph.tensor import buffer_of, give_memory_of, is_in_host_memory
from ggufsurgeon.engine.high_level.llama_over import llama_over
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.native_objects.family_lock import joined
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.engine.tensor_map import weights_of
from ggufsurgeon.errors import AliasingUnavailableError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.planning.planner import PatchPlan, plan_patch
from ggufsurgeon.writing.equal_data import check_equal_data

OUTPUT = "output.weight"
"""The output matrix. That of a source may be its `token_embd.weight`, in a second tensor."""


class AliasedModel(Model):
    """The patched model over the weights of its loaded sources. Made by `alias`.

    It is freed behind its `with` block, by `free`, by the garbage collector, or with one of its
    sources; they are not collected before. It decodes when none of them does, nor another model
    that is aliased over one of them.
    """

    def __init__(self, sources: Sources, planned: PatchPlan, load: EmptyLoad) -> None:
        first = sources.models[0]
        parents = [model.native for model in sources.models]
        super().__init__(load.handle, first.path, first.options, load.use, parents)
        self._write_plan = planned.write_plan
        self.sources = sources
        self.layer_path = planned.path
        """The block of each position, MTP blocks included."""

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
        return placements(self.layer_path, self.sources.devices(), self.devices())

    def llama(self, **options: Any) -> Any:
        """A `llama_cpp.Llama` with a context of its own; `options` are those of that class."""
        return llama_over(self, **options)


def alias(
    models: Model | Sequence[Model] | Sources, path: AnyPath, *, scale_weights: bool = False
) -> AliasedModel:
    """The model of a layer path over the weights of one loaded model, or of several.

    Nothing is written, and no more is read than what a patch would not copy as it is. Raises
    RefusedError and UsageError as `plan_patch`, UsageError for a file that has changed since it was
    loaded, and AliasingUnavailableError where aliased models cannot be: the path
    can then be run routed.
    """
    sources = Sources.of(models)
    first = sources.models[0]
    for model in sources.models:
        _check_is_source(model)
    files = [model.file for model in sources.models]
    outside = sources.outside
    planned = plan_patch(
        files[0], path, others=files[1:], outside=outside, scale_weights=scale_weights
    )
    check_equal_data(planned.write_plan.sources, planned.equal_data)
    tensors = tuple(planned_tensors(planned.write_plan, files))
    with joined([model.native.lock for model in sources.models]):
        first.on_trial()
        load = _load(sources, planned, [each for each in tensors if each.shared_with is None])
        aliased = AliasedModel(sources, planned, load)
        aliased.on_suspect = first.on_suspect
        try:
            _share_weights(aliased, load, tensors)
            if any(placement.is_apart for placement in aliased.placements()):
                # llama.cpp would do without, since it is another device that computes attention.
                aliased.flash_attention = uses_flash_attention(first)
        except BaseException:
            aliased.free()
            raise
    return aliased


def _load(sources: Sources, planned: PatchPlan, made: Sequence[PlannedTensor]) -> EmptyLoad:
    """The planned model without weights, but for those that its plan makes."""
    first, of_output = sources.models[0], sources.outside_of(planned.path).output
    split = split_beside(first.options, planned.path, sources.devices(), of_output)
    with opened_virtual_file(planned.write_plan, made) as file:
        return load_empty(file, first.path, [tensor.name for tensor in made], split)


def _check_is_source(model: Model) -> None:
    """Raise UsageError unless `model` has the weights of its file, under their names."""
    if isinstance(model, AliasedModel):
        raise UsageError(
            f"{model.path}: this model is aliased and has its blocks in another order",
            hint="Give the models that it was made from: its `sources`.",
        )
    model.check_unchanged()


def _share_weights(
    aliased: AliasedModel, load: EmptyLoad, tensors: Sequence[PlannedTensor]
) -> None:
    """Give each empty weight the memory of a source's, and check that none is left."""
    original = {tensor.name: tensor.shared_with for tensor in tensors}
    there = _addresses(aliased.sources)
    for weight in load.weights:
        give_memory_of(_source_of(weight, original[weight.name], there), weight.address)
    left = [w.name for w in weights_of(aliased.handle) if buffer_of(w.address) in load.buffers]
    if left:  # llama.cpp would end the process when it makes a context
        raise AliasingUnavailableError(f"tensors were not shared: {', '.join(left)}")


def _addresses(sources: Sources) -> Mapping[SharedTensor, Sequence[int]]:
    """The sources' tensors. Of two by one name the first is the one that rows are read of.

    Rows are read on the CPU, from memory of the plain layout; the output may be on a device, or
    repacked (src/llama-model.cpp:1605).
    """
    found: dict[SharedTensor, list[int]] = defaultdict(list)
    for number, model in enumerate(sources.models):
        for name, address in weights_of(model.handle):
            found[SharedTensor(number, name)].append(address)
    return {one: sorted(all_, key=is_in_host_memory, reverse=True) for one, all_ in found.items()}


def _source_of(
    weight: EmptyWeight,
    original: SharedTensor | None,
    there: Mapping[SharedTensor, Sequence[int]],
) -> int:
    if original is None or original not in there:
        raise AliasingUnavailableError(
            f"the loaded sources have no tensor that {weight.name} could share"
        )
    is_output = weight.is_second or weight.name == OUTPUT
    return there[original][-1 if is_output else 0]
