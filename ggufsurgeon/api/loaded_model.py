"""A model that stays loaded, and answers one question after the other along any layer path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.files import PathLike
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.engine.runner import InProcess
    from ggufsurgeon.engine.sampling import Sampling
    from ggufsurgeon.engine.worker import Worker
    from ggufsurgeon.multiple_choice.choices import Answer, Answered, Choices
    from ggufsurgeon.routing.speaking import Speech
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.scoring.results import PartialResult, PathResult
    from ggufsurgeon.scoring.task import Reference
    from ggufsurgeon.statistics.divergence import Comparison
    from ggufsurgeon.statistics.perplexity import Perplexity


class LoadedModel:
    """A model over a runner that keeps it loaded between calls. Made by `load`.

    Each call loads the model if none has before. Layer paths are routed: no file is written. An
    exception in the caller while a call runs, such as Ctrl-C, stops that call alone.

    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     found = model.compare(b"Once upon a time. " * 60, gs.repeat("1:3"), settings=settings)
    >>> found.divergence.kl.mean.value > 0
    True
    """

    def __init__(self, file: GgufFile, devices: Devices, runner: Worker | InProcess) -> None:
        self._file = file
        self._devices = devices
        self._runner = runner

    def __enter__(self) -> LoadedModel:
        self._runner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.__exit__()

    @property
    def path(self) -> Path:
        """The file of the model."""
        return self._file.path

    def generate(
        self,
        prompt: str,
        path: AnyPath | None = None,
        *,
        max_tokens: int = 128,
        sampling: Sampling | None = None,
        on_text: Callable[[str], object] | None = None,
    ) -> Speech:
        """Continue `prompt` by up to `max_tokens` tokens along a layer path.

        `on_text` is called with each piece of text as it comes. Raises UsageError for a model
        that does not continue texts, RefusedError for a path that cannot be routed.
        """
        from ggufsurgeon.engine.sampling import Sampling
        from ggufsurgeon.routing.speaking import speak

        return self._runner.run(
            speak,
            self.path,
            self._over(path),
            prompt.encode("utf-8", "surrogateescape"),
            max_tokens,
            sampling or Sampling(),
            self._devices,
            on_result=on_text,
        )

    def perplexity(
        self,
        text: PathLike | bytes,
        *,
        settings: TextSettings | None = None,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[PartialResult], object] | None = None,
    ) -> Perplexity:
        """The perplexity of the model as it is on a text, by llama-perplexity's algorithm.

        `text` is a file, a folder of .txt and .md files, or the bytes themselves. Raises
        UsageError for a text that is too short or no text.
        """
        return self._score(text, (None,), None, settings, progress, on_result)[0].perplexity

    def compare(
        self,
        text: PathLike | bytes,
        paths: Sequence[AnyPath],
        *,
        settings: TextSettings | None = None,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[PartialResult], object] | None = None,
    ) -> tuple[Comparison, ...]:
        """The model along each of `paths` beside the model as it is, over the same tokens.

        All are scored in one stream: the model as it is runs once, and gives the states for all
        windows. Each comparison has paired differences with their standard errors, in nats a
        token, and the layer path. Raises as `perplexity`, UsageError for fewer than 100 scored
        tokens, and RefusedError for a path that cannot be routed.

        >>> import ggufsurgeon as gs
        >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
        >>> text = b"Once upon a time there was a little dog. " * 60
        >>> with gs.load("fixtures/stories260K.gguf") as model:
        ...     rows = model.compare(text, [gs.repeat("1:3"), gs.drop("3:4")], settings=settings)
        >>> [(row.layer_path, row.n_scored) for row in rows]
        [('0..2,1..4', 124), ('0..2,4', 124)]
        """
        from ggufsurgeon.scoring.task import PathReference

        layer_paths = [self._over(path) for path in paths]
        if not layer_paths:
            return ()
        distinct = tuple(dict.fromkeys(layer_paths))
        results = self._score(text, distinct, PathReference(), settings, progress, on_result)
        found = {one.layer_path: one.comparison for one in results if one.comparison is not None}
        return tuple(found[str(path)] for path in layer_paths)

    def choose(
        self,
        tasks: PathLike,
        paths: Sequence[AnyPath] = (),
        *,
        task_format: str = "jsonl",
        limit: int | None = None,
        progress: Progress = NO_PROGRESS,
        on_result: Callable[[Answered], object] | None = None,
    ) -> tuple[Choices, ...]:
        """The answers to multiple-choice tasks along each of `paths`; without any, as it is.

        Of more than `limit` tasks those are evaluated that llama-perplexity draws. `on_result` is
        called after each task: its `choices()` are the means so far.
        """
        from ggufsurgeon.llama_perplexity.task_sample import draw
        from ggufsurgeon.multiple_choice.choices import Answered, measure_choices
        from ggufsurgeon.multiple_choice.task_files import read_tasks
        from ggufsurgeon.multiple_choice.tasks import TaskFormat

        kind = TaskFormat(task_format)
        as_hellaswag = kind is TaskFormat.HELLASWAG
        drawn = draw(read_tasks(Path(tasks), kind), limit, as_hellaswag=as_hellaswag)
        layer_paths = [resolve_path(self._file, path) for path in paths]
        answered = Answered(layer_paths, len(drawn))

        def take(answers: list[Answer]) -> None:
            answered.add(answers)
            if on_result is not None:
                on_result(answered)

        arguments = (self.path, layer_paths, drawn, kind, self._devices)
        return self._runner.run(measure_choices, *arguments, progress=progress, on_result=take)

    def _over(self, path: AnyPath | None) -> LayerPath:
        if path is None:
            return LayerPath.identity(find_blocks(self._file).n_trunk)
        return resolve_path(self._file, path)

    def _score(
        self,
        text: PathLike | bytes,
        paths: tuple[LayerPath | None, ...],
        reference: Reference | None,
        settings: TextSettings | None,
        progress: Progress,
        on_result: Callable[[PartialResult], object] | None,
    ) -> tuple[PathResult, ...]:
        from ggufsurgeon.scoring.chunks import TextSettings
        from ggufsurgeon.scoring.score_paths import score_paths
        from ggufsurgeon.scoring.task import ScoringTask
        from ggufsurgeon.scoring.texts import content_of

        content, _ = content_of(text)
        settings = settings or TextSettings()
        task = ScoringTask(self.path, paths, content, settings, self._devices, reference)
        return score_paths(task, self._runner, None, progress, on_result)


def load(
    model: PathLike, devices: Devices | None = None, *, in_process: bool = False
) -> LoadedModel:
    """A model to run; use it in a `with` block. It is loaded by the first call, and then kept.

    llama.cpp runs in a worker process, which it may take down without harm to this one; with
    `in_process`, in this process. Raises MalformedFileError, UsageError for what is no GGUF.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     text = model.generate("Once upon a time", max_tokens=5).text
    ...     longer = model.generate("Once upon a time", gs.repeat("1:3"), max_tokens=5).text
    >>> text
    ', there was a little'
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.engine.runner import InProcess
    from ggufsurgeon.engine.worker import Worker

    runner = InProcess() if in_process else Worker()
    return LoadedModel(open_gguf(model), devices or Devices(), runner)
