"""The verbs as functions: inspect, plan, patch, verify, perplexity, divergence, generate, choose.

Every function raises a `ggufsurgeon.errors.GgufSurgeonError` for what the user can mend.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import PatchPlan, plan_patch
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.application import label_blocks
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.windows import Judgement, judge_windows

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only verbs that run a model import them
    from ggufsurgeon.engine.model import DeviceOptions
    from ggufsurgeon.engine.sampling import Sampling
    from ggufsurgeon.multiple_choice.choices import Answer, Answered, Choices
    from ggufsurgeon.routing.speaking import Speech
    from ggufsurgeon.scoring.measured import Known, Measured
    from ggufsurgeon.scoring.perplexity import Perplexity, PerplexitySettings
    from ggufsurgeon.verification.verifier import Verification

PathLike: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True)
class Inspection:
    """A file; its blocks, their kinds and windows if they are whole; and why not, if so."""

    file: GgufFile
    blocks: Blocks | None = None
    kinds: tuple[str, ...] = ()
    windows: tuple[Judgement, ...] = ()
    refusal: str | None = None


def inspect(model: PathLike) -> Inspection:
    """What the file at `model` is, from its header alone."""
    file = open_gguf(model)
    try:
        blocks = find_blocks(file)
    except (RefusedError, MalformedFileError) as error:
        return Inspection(file, refusal=str(error))
    try:
        kinds = tuple(label_blocks(file, blocks))
        windows = tuple(judge_windows(file, blocks))
    except RefusedError as error:
        return Inspection(file, blocks, refusal=str(error))
    refused = all(window.refusal for window in windows)
    return Inspection(file, blocks, kinds, windows, windows[0].refusal if refused else None)


def plan(source: PathLike, path: AnyPath, *, scale_weights: bool = False) -> PatchPlan:
    """What `patch` would write. Writes nothing."""
    file = open_gguf(source)
    return plan_patch(file, resolve_path(file, path), scale_weights=scale_weights)


def patch(
    source: PathLike,
    destination: PathLike,
    path: AnyPath,
    *,
    scale_weights: bool = False,
    replace: bool = False,
    progress: Progress = NO_PROGRESS,
) -> PatchPlan:
    """Write the file in which the blocks of `path` run, in order.

    The destination is absent, as it was or complete, whatever happens; it is overwritten only
    with `replace`. `scale_weights` allows files that are the same within rounding alone, where
    some weights must be multiplied; the plan's notes then say so.
    """
    from ggufsurgeon.writing.new_file import write_new_file

    planned = plan(source, path, scale_weights=scale_weights)
    write_new_file(planned.write_plan, Path(destination), replace=replace, progress=progress)
    return planned


def verify(
    patched: PathLike,
    source: PathLike,
    *,
    settings: PerplexitySettings | None = None,
    options: DeviceOptions | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    With `settings` the perplexity of both is measured as well, which takes far longer than all
    else. The outcome lists each check; its `raise_if_failed` raises VerificationError.
    """
    from ggufsurgeon.engine.model import DeviceOptions
    from ggufsurgeon.verification.verifier import verify_patched

    return verify_patched(
        open_gguf(patched),
        open_gguf(source),
        settings,
        options or DeviceOptions(),
        progress,
    )


def perplexity(
    model: PathLike,
    text: PathLike | bytes,
    *,
    settings: PerplexitySettings | None = None,
    options: DeviceOptions | None = None,
    store: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
    hear: Callable[[Known], object] | None = None,
) -> Perplexity:
    """The perplexity of `model` as it is, on a text, as llama-perplexity measures it.

    The arguments are those of `divergence`.
    """
    return divergence(
        model, text, settings=settings, options=options, store=store, progress=progress, hear=hear
    ).perplexity


def divergence(
    model: PathLike,
    text: PathLike | bytes,
    path: AnyPath | None = None,
    *,
    base: PathLike | None = None,
    base_path: AnyPath | None = None,
    base_logits: PathLike | None = None,
    save_logits: PathLike | None = None,
    replace: bool = False,
    settings: PerplexitySettings | None = None,
    options: DeviceOptions | None = None,
    store: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
    hear: Callable[[Known], object] | None = None,
) -> Measured:
    """How far `model`, along a layer path if one is given, is from a base on a text.

    `text` is a file, a folder of .txt and .md files, `-` for standard input, or the bytes
    themselves. The base is the model `base`, along `base_path` if that is given; or the base file
    `base_logits`, as llama-perplexity writes it; or, where there is only one or the other path,
    `model` along `base_path`, or as it is. Without any of them the perplexity alone is measured.
    `save_logits` writes a base file of `model`, over another only with `replace`.

    The file `store` keeps what is known of each chunk, and is gone on with. `hear` is called with
    what is known, each time that more is: its `measured()` are the figures over the chunks so far.
    Models run in child processes, which llama.cpp may take down without harm to this one; two at
    once only if both fit in memory.
    """
    from ggufsurgeon.scoring.request import BaseRequest, make_task
    from ggufsurgeon.scoring.run import measure
    from ggufsurgeon.scoring.texts import content_of
    from ggufsurgeon.writing.new_file import new_file

    if save_logits is not None and store is not None:
        raise UsageError("a run that saves logits cannot go on from a store: leave one of them out")
    content, read = content_of(text)
    asked = BaseRequest(_path(base), base_path, _path(base_logits))
    task = make_task(Path(model), path, asked, content, settings, options)
    kept = _path(store)
    if save_logits is None:
        return measure(task, kept, progress, hear)
    read += [Path(file) for file in (model, base, base_logits) if file is not None]
    with new_file(Path(save_logits), read, replace=replace) as temporary:
        return measure(dataclasses.replace(task, save_to=temporary), kept, progress, hear)


def check_picture(
    picture: PathLike, sources: Sequence[PathLike] = (), *, replace: bool = False
) -> None:
    """What keeps `draw_losses` from making a picture, told before hours of measuring.

    Raises UsageError for another suffix than .png, .svg and .pdf, MissingExtraError without
    matplotlib, RefusedError when the file exists (unless `replace`) or is one of `sources`.
    """
    from ggufsurgeon.reporting.formats import check_picture as check_format
    from ggufsurgeon.writing.preflight import check_place

    check_format(Path(picture))
    check_place([Path(source) for source in sources], Path(picture), replace=replace)


def draw_losses(
    measured: Measured,
    picture: PathLike,
    *,
    title: str,
    model: str,
    base: str = "",
    replace: bool = False,
) -> None:
    """A picture of losses by position, and by chunk or how they differ from the base's.

    PNG, SVG or PDF, by the suffix of `picture`; `model` and `base` are what it calls them. Another
    file is overwritten only with `replace`.
    """
    from ggufsurgeon.reporting.formats import check_picture
    from ggufsurgeon.reporting.losses import Against, Side
    from ggufsurgeon.reporting.losses import draw_losses as drawn
    from ggufsurgeon.writing.new_file import write_bytes

    against = None
    if measured.base is not None and measured.divergence is not None:
        against = Against(Side(base, measured.base), measured.divergence)
    path = Path(picture)
    content = drawn(check_picture(path), title, Side(model, measured.perplexity), against)
    write_bytes(content, path, replace=replace)


def generate(
    model: PathLike,
    prompt: str,
    path: AnyPath | None = None,
    *,
    n_tokens: int = 128,
    sampling: Sampling | None = None,
    options: DeviceOptions | None = None,
    hear: Callable[[str], object] | None = None,
) -> Speech:
    """What `model` says after `prompt` along a layer path, routed: no file is written.

    `hear` is called with each piece of text as it comes. The model runs in a child process.
    """
    from ggufsurgeon.engine.model import DeviceOptions
    from ggufsurgeon.engine.sampling import Sampling
    from ggufsurgeon.engine.worker import Worker
    from ggufsurgeon.routing.speaking import speak

    file = open_gguf(model)
    whole = LayerPath.identity(find_blocks(file).n_trunk)
    with Worker() as worker:
        return worker.run(
            speak,
            file.path,
            whole if path is None else resolve_path(file, path),
            prompt.encode("utf-8", "surrogateescape"),
            n_tokens,
            sampling or Sampling(),
            options or DeviceOptions(),
            on_result=hear,
        )


def choose(
    model: PathLike,
    tasks: PathLike,
    paths: Sequence[AnyPath] = (),
    *,
    task_format: str = "jsonl",
    limit: int | None = None,
    options: DeviceOptions | None = None,
    progress: Progress = NO_PROGRESS,
    hear: Callable[[Answered], object] | None = None,
) -> tuple[Choices, ...]:
    """The answers of `model` to the tasks of a file along each of `paths`, routed.

    Without paths, the answers of the model as it is, alone. To compare with those of a path, ask
    for the path of all its blocks too: it then runs in the same way, and rounds alike. Of more than
    `limit` tasks so many are asked, those that llama-perplexity draws. `hear` is called with what
    is known after each task: its `choices()` are the means so far. The model runs in a child
    process.
    """
    from ggufsurgeon.engine.model import DeviceOptions
    from ggufsurgeon.engine.worker import Worker
    from ggufsurgeon.llama_perplexity.task_sample import draw
    from ggufsurgeon.multiple_choice.choices import Answered, measure_choices
    from ggufsurgeon.multiple_choice.task_files import read_tasks
    from ggufsurgeon.multiple_choice.tasks import TaskFormat

    file = open_gguf(model)
    kind = TaskFormat(task_format)
    drawn = draw(read_tasks(Path(tasks), kind), limit, as_hellaswag=kind is TaskFormat.HELLASWAG)
    layer_paths = [resolve_path(file, path) for path in paths]
    answered = Answered(layer_paths, len(drawn))

    def take(answers: list[Answer]) -> None:
        answered.add(answers)
        if hear is not None:
            hear(answered)

    with Worker() as worker:
        return worker.run(
            measure_choices,
            file.path,
            layer_paths,
            drawn,
            kind,
            options or DeviceOptions(),
            progress=progress,
            on_result=take,
        )


def _path(file: PathLike | None) -> Path | None:
    return None if file is None else Path(file)
