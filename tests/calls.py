"""What the API does in two steps, in one call: tests ask for one thing of one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ggufsurgeon as gs
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from ggufsurgeon.planning.planner import PatchPlan


def plan(source: PathLike, path: AnyPath, *, scale_weights: bool = False) -> PatchPlan:
    """Plan the file in which the blocks of `path` run."""
    return gs.open(source).plan(path, scale_weights=scale_weights).planned


def patch(
    source: PathLike,
    destination: PathLike,
    path: AnyPath,
    *,
    scale_weights: bool = False,
    replace: bool = False,
    progress: Progress = NO_PROGRESS,
) -> PatchPlan:
    """Write the file in which the blocks of `path` run."""
    planned = gs.open(source).plan(path, scale_weights=scale_weights)
    planned.write(destination, replace=replace, progress=progress)
    return planned.planned


def score(
    model: PathLike,
    text: PathLike | bytes,
    path: AnyPath | None = None,
    *,
    devices: gs.Devices | None = None,
    **options: Any,
) -> gs.PathResult:
    """Score one layer path in a process of its own; the options are those of `score`.

    A layer path is compared with the unmodified model unless another reference is given.
    """
    if path is not None:
        options.setdefault("reference", gs.PathReference())
    with gs.load(model, devices) as loaded:
        return loaded.score(text, [path], **options)[0]


def perplexity(
    model: PathLike,
    text: PathLike | bytes,
    *,
    devices: gs.Devices | None = None,
    **options: Any,
) -> gs.Perplexity:
    """The perplexity of an unmodified model; the options are those of `score`."""
    return score(model, text, devices=devices, **options).perplexity


def choose(
    model: PathLike,
    tasks: PathLike,
    paths: Sequence[AnyPath] = (),
    *,
    devices: gs.Devices | None = None,
    **options: Any,
) -> tuple[gs.MultipleChoiceResult, ...]:
    """Evaluate tasks in a process of its own; the options are those of `choose`."""
    with gs.load(model, devices) as loaded:
        return loaded.choose(tasks, paths, **options)
