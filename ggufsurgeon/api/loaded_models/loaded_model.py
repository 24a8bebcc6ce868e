"""A model that stays loaded, and answers one question after the other along any layer path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.anatomy_methods import AnatomyMethods
from ggufsurgeon.api.loaded_models.answering_methods import AnsweringMethods
from ggufsurgeon.api.loaded_models.inference_methods import InferenceMethods
from ggufsurgeon.api.loaded_models.leaderboard_methods import LeaderboardMethods
from ggufsurgeon.api.loaded_models.measuring_methods import MeasuringMethods
from ggufsurgeon.api.loaded_models.scanning_methods import ScanningMethods
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.locating.locate import local_file
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.engine.model import Devices


class LoadedModel(
    InferenceMethods,
    MeasuringMethods,
    AnsweringMethods,
    LeaderboardMethods,
    ScanningMethods,
    AnatomyMethods,
):
    """A model over a runner that keeps it loaded between calls. Made by `load`.

    Each call loads the model if none has before. Layer paths are run over the loaded weights,
    and measured by routing: no file is written. An exception in the caller while a call runs, such
    as Ctrl-C, stops that call alone.

    >>> import ggufsurgeon as gs
    >>> text, settings = b"Once upon a time. " * 60, gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (found,) = model.compare(text, [gs.repeat("1:3")], settings=settings)
    >>> found.kl.mean.value > 0
    True
    """

    def __enter__(self) -> LoadedModel:
        self._runner.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.__exit__()


def load(
    model: PathLike,
    devices: Devices | None = None,
    *,
    others: Sequence[PathLike] = (),
    outside: OutsideBlocks | None = None,
    in_process: bool = False,
) -> LoadedModel:
    """A model to run; use it in a `with` block. It is loaded by the first call, and then kept.

    Models are paths or names, as for `open`; a model on the Hugging Face Hub is downloaded to the
    cache of huggingface_hub first.

    Layer paths can also use blocks of `others`, which are models 1, 2 and so on, as in
    `LayerPath("0..7,1:4..11")`. All models are loaded on the same devices, side by side. `outside`
    says which models the embeddings, the output and the tokenizer come from; by default, the model
    of the first block, that of the last block, and `model`.

    llama.cpp runs in a worker process, which it may take down without harm to this one; with
    `in_process`, in this process. Raises MalformedFileError, UsageError for what is no GGUF, and
    RefusedError for what is no language model.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     text = model.generate("Once upon a time", max_tokens=5).text
    ...     longer = model.generate("Once upon a time", gs.repeat("1:3"), max_tokens=5).text
    >>> text
    ', there was a little'
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.workers.runner import InProcess
    from ggufsurgeon.workers.worker import Worker

    runner = InProcess() if in_process else Worker()
    files = [open_gguf(local_file(path)) for path in (model, *others)]
    for file in files:
        check_is_language_model(file)
    if outside is not None:
        outside.check_within(len(files))
    return LoadedModel(files[0], devices or Devices(), runner, files[1:], outside)
