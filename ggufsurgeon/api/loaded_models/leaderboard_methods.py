"""The Open LLM Leaderboard's benchmarks on a loaded model along layer paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import local_file
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.leaderboard.answering.work import AnswerSettings
    from ggufsurgeon.leaderboard.chat_settings import ChatSettings
    from ggufsurgeon.leaderboard.prompting import Prompting
    from ggufsurgeon.leaderboard.results import LeaderboardResult
    from ggufsurgeon.leaderboard.run import PathOfModel, RunSize


class LeaderboardMethods(ModelOverRunner):
    """The method of a loaded model that runs the leaderboard's benchmarks."""

    def leaderboard(
        self,
        paths: Sequence[AnyPath | None] = (),
        *,
        base: PathLike | None = None,
        benchmarks: Sequence[str] | None = None,
        limit: int | None = None,
        data: PathLike | None = None,
        chat: ChatSettings | None = None,
        n_ctx: int | None = None,
        n_parallel: int | None = None,
        store: PathLike | None = None,
        progress: Progress = NO_PROGRESS,
        on_size: Callable[[RunSize], object] | None = None,
    ) -> LeaderboardResult:
        """Run benchmarks of the Open LLM Leaderboard by lm-evaluation-harness' own tasks.

        The base is the unmodified model, or the model `base`. The model along each of `paths` is
        compared with it (None is the unmodified model); with a `base` and without paths, the
        unmodified model is. `benchmarks` are names out of ifeval, bbh, math, gpqa, musr and
        mmlu-pro; None is all six. `limit` is how many documents of each task are evaluated, from
        the first; `data` is a folder with a mirror of the datasets. With `chat`, the model's chat
        template makes the prompts. `n_ctx` is the maximum number of tokens of a prompt with its
        answer (None: as many as the model was trained on), `n_parallel` is how many texts are
        generated at once. The file `store` keeps answers: an interrupted call resumes from it.
        `on_size` is called before a model answers.

        It must be called in the main thread. Raises MissingExtraError where the extra
        `leaderboard` is not installed, UsageError for benchmarks, data, paths or prompts that do
        not fit, RefusedError for a path that cannot be run exactly, MalformedFileError for data
        that are not what the harness reads.
        """
        from ggufsurgeon.leaderboard.harness.benchmarks import BENCHMARK_NAMES
        from ggufsurgeon.leaderboard.prompting import PLAIN
        from ggufsurgeon.leaderboard.run import LeaderboardTask, PathOfModel, run_leaderboard

        base_file = self._file if base is None else _language_model(local_file(base))
        own = [PathOfModel(self._models, self._over(path)) for path in paths]
        if base is not None and not own:
            own = [_as_it_is(self._file)]
        task = LeaderboardTask(
            _as_it_is(base_file),
            tuple(own),
            BENCHMARK_NAMES if benchmarks is None else benchmarks,
            None if data is None else Path(data),
            limit,
            PLAIN if chat is None else _prompting(chat, self._file, base_file),
            _answer_settings(n_ctx, n_parallel),
            self._devices,
        )
        where = None if store is None else Path(store)
        return run_leaderboard(task, self._runner, where, progress, on_size)


def _language_model(path: Path) -> GgufFile:
    file = open_gguf(path)
    check_is_language_model(file)
    return file


def _as_it_is(file: GgufFile) -> PathOfModel:
    from ggufsurgeon.leaderboard.run import PathOfModel
    from ggufsurgeon.workers.model_paths import ModelPaths

    return PathOfModel(ModelPaths(file.path), LayerPath.identity(find_blocks(file).n_trunk))


def _prompting(chat: ChatSettings, file: GgufFile, base: GgufFile) -> Prompting:
    from ggufsurgeon.leaderboard.chat_settings import chat_prompting

    return chat_prompting(chat, file, base)


def _answer_settings(n_ctx: int | None, n_parallel: int | None) -> AnswerSettings:
    from ggufsurgeon.leaderboard.answering.work import AnswerSettings

    return AnswerSettings(n_ctx) if n_parallel is None else AnswerSettings(n_ctx, n_parallel)
