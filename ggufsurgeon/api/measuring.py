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
    from ggufsurgeon.scoring.measured import Known, Measured
    from ggufsurgeon.scoring.perplexity import Perplexity
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
    settings: TextSettings | None = None,
    options: Devices | None = None,
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
