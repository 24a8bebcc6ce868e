"""Measurements of files, each in a process of its own: verify, perplexity, divergence, choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.files import PathLike
from ggufsurgeon.api.loaded_model import load
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only verbs that run a model import them
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.engine.sampling import Sampling
    from ggufsurgeon.multiple_choice.choices import Answered, Choices
    from ggufsurgeon.routing.speaking import Speech
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.scoring.results import PartialResult, PathResult
    from ggufsurgeon.scoring.task import Reference
    from ggufsurgeon.statistics.perplexity import Perplexity
    from ggufsurgeon.verification.verifier import Verification


def verify(
    patched: PathLike,
    source: PathLike,
    *,
    settings: TextSettings | None = None,
    options: Devices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    With `settings` the perplexity of both is measured as well, which takes far longer than all
    else. The outcome lists each check; its `raise_if_failed` raises VerificationError.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     gs.verify(patched, source).ok
    True
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.verification.verifier import verify_patched

    return verify_patched(
        open_gguf(patched),
        open_gguf(source),
        settings,
        options or Devices(),
        progress,
    )


def perplexity(
    model: PathLike,
    text: PathLike | bytes,
    *,
    settings: TextSettings | None = None,
    options: Devices | None = None,
    store: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
    hear: Callable[[PartialResult], object] | None = None,
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
    settings: TextSettings | None = None,
    options: Devices | None = None,
    store: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
    hear: Callable[[PartialResult], object] | None = None,
) -> PathResult:
    """Scores of `model`, along a layer path if one is given, beside those of a base on a text.

    `text` is a file, a folder of .txt and .md files, `-` for standard input, or the bytes
    themselves. The base is the model `base`, along `base_path` if that is given; or `base_logits`,
    a logits file as llama-perplexity writes it; or, where there is only one or the other path,
    `model` along `base_path`, or as it is. Without any of them only the perplexity is measured.
    `save_logits` writes a logits file of `model`, over another only with `replace`.

    The file `store` keeps the scores of each chunk; an interrupted run resumes from it. `hear` is
    called with what is known, each time that more is: its `results()` are those over the chunks so
    far. Models run in a worker process, which llama.cpp may take down without harm to this one;
    two at once only if both fit in memory. Raises UsageError for a text, a path or a base that
    does not fit, RefusedError for a path that cannot be routed, MalformedFileError for a file that
    llama.cpp cannot run.
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.scoring.score_paths import score_paths
    from ggufsurgeon.scoring.task import ScoringTask, resolved_paths
    from ggufsurgeon.scoring.texts import content_of
    from ggufsurgeon.writing.new_file import new_file

    if save_logits is not None and store is not None:
        raise UsageError("a run that saves logits cannot go on from a store: leave one of them out")
    content, read = content_of(text)
    task = ScoringTask(
        open_gguf(model).path,
        resolved_paths(Path(model), [path]),
        content,
        settings or TextSettings(),
        options or Devices(),
        _reference(Path(model), path, _path(base), base_path, _path(base_logits)),
    )
    kept = _path(store)
    if save_logits is None:
        return score_paths(task, None, kept, progress, hear)[0]
    read += [Path(file) for file in (model, base, base_logits) if file is not None]
    with new_file(Path(save_logits), read, replace=replace) as temporary:
        task = dataclasses.replace(task, save_logits=temporary)
        return score_paths(task, None, kept, progress, hear)[0]


def _reference(
    model: Path,
    path: AnyPath | None,
    base: Path | None,
    base_path: AnyPath | None,
    base_logits: Path | None,
) -> Reference | None:
    """The reference that is asked for; that of a path alone is the model as it is."""
    from ggufsurgeon.scoring.task import LogitsFileReference, model_reference

    is_run = base is not None or base_path is not None
    if base_logits is not None:
        if is_run:
            raise UsageError("a model is measured against one base: a model or its logits")
        return LogitsFileReference(base_logits)
    if is_run or path is not None:
        return model_reference(model, base or model, base_path)
    return None


def generate(
    model: PathLike,
    prompt: str,
    path: AnyPath | None = None,
    *,
    n_tokens: int = 128,
    sampling: Sampling | None = None,
    options: Devices | None = None,
    hear: Callable[[str], object] | None = None,
) -> Speech:
    """What `model` says after `prompt` along a layer path, routed: no file is written.

    `hear` is called with each piece of text as it comes. The model runs in a child process.
    """
    with load(model, options) as loaded:
        return loaded.generate(prompt, path, max_tokens=n_tokens, sampling=sampling, on_text=hear)


def choose(
    model: PathLike,
    tasks: PathLike,
    paths: Sequence[AnyPath] = (),
    *,
    task_format: str = "jsonl",
    limit: int | None = None,
    options: Devices | None = None,
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
    with load(model, options) as loaded:
        return loaded.choose(
            tasks, paths, task_format=task_format, limit=limit, progress=progress, on_result=hear
        )


def _path(file: PathLike | None) -> Path | None:
    return None if file is None else Path(file)
