"""Plans over several models."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import check_on_disk, is_remote
from ggufsurgeon.planning.planner import PatchPlan, plan_patch
from ggufsurgeon.writing.equal_data import check_equal_data


def plan_over(
    source: GgufFile,
    path: AnyPath,
    others: Sequence[GgufFile],
    outside: OutsideBlocks | None,
    *,
    scale_weights: bool,
    name: str | None = None,
) -> PatchPlan:
    """The plan of a path over `source` and `others`. A file that is there twice is one model.

    Raises as `plan_patch`, and RefusedError where data differ that all models must have alike.
    """
    if isinstance(path, LayerPath):
        path, outside = _with_each_once((source, *others), path, outside)
    planned = plan_patch(
        source, path, others=others, outside=outside, scale_weights=scale_weights, name=name
    )
    if planned.equal_data:
        check_on_disk(source, *others)
    check_equal_data(planned.write_plan.sources, planned.equal_data)
    return planned


def _with_each_once(
    files: Sequence[GgufFile], path: LayerPath, outside: OutsideBlocks | None
) -> tuple[LayerPath, OutsideBlocks | None]:
    """The path, and what is outside the blocks, with one index for all models of one file."""
    first_of = [
        next(m for m, other in enumerate(files) if is_same_file(other, file)) for file in files
    ]
    index = {n: first for n, first in enumerate(first_of)}
    steps = (step.at(index.get(step.source, step.source), step.block) for step in path.steps)
    if outside is not None:
        sides = (outside.embeddings, outside.output, outside.tokenizer)
        outside = OutsideBlocks(*(index.get(side, side) for side in sides))
    return LayerPath(steps), outside


def is_same_file(one: GgufFile, other: GgufFile) -> bool:
    """Whether two models are one file."""
    if is_remote(one) or is_remote(other):
        return str(one.path) == str(other.path)
    return one.path.samefile(other.path)
