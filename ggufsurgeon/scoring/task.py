"""What is to be scored: a text, layer paths over a model, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.workers.model_paths import ModelPaths


@dataclass(frozen=True)
class PathReference:
    """The same model along a layer path; None for the unmodified model.

    >>> import ggufsurgeon as gs
    >>> reference = gs.PathReference(gs.LayerPath("0,2..4"))
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with gs.load("fixtures/stories260K.gguf") as model:
    ...     (found,) = model.score(text, [None], reference=reference, settings=settings)
    >>> found.layer_path, found.base_layer_path
    ('', '0,2..4')
    """

    layer_path: LayerPath | None = None


@dataclass(frozen=True)
class ModelReference:
    """Another model along a layer path; None for that model unmodified.

    >>> import ggufsurgeon as gs
    >>> model = gs.open("fixtures/stories260K.gguf")
    >>> reference = gs.ModelReference(model.path, gs.repeat("1:3").over(model.n_blocks))
    >>> str(reference.layer_path)
    '0..2,1..4'
    """

    model: Path
    layer_path: LayerPath | None = None


@dataclass(frozen=True)
class LogitsFileReference:
    """The logits of a model, saved by `LoadedModel.score` or by llama-perplexity.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import ggufsurgeon as gs
    >>> settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    >>> text = b"Once upon a time there was a little dog. " * 60
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     gs.load("fixtures/stories260K.gguf") as model,
    ... ):
    ...     saved = Path(folder, "logits")
    ...     _ = model.score(text, save_logits=saved, settings=settings)
    ...     reference = gs.LogitsFileReference(saved)
    ...     (found,) = model.score(text, reference=reference, settings=settings)
    >>> found.comparison.kl.mean.value < 1e-4
    True
    """

    file: Path


Reference: TypeAlias = "PathReference | ModelReference | LogitsFileReference"
"""What layer paths are compared with; the command line and llama-perplexity call it the base."""


@dataclass(frozen=True)
class ScoringTask:
    """Layer paths over one model, or over several, scored on a text in one stream."""

    model: Path
    layer_paths: tuple[LayerPath | None, ...]
    """Distinct; None for the model as it is."""
    text: bytes
    settings: TextSettings
    devices: Devices
    reference: Reference | None = None
    save_logits: Path | None = None
    """Logits file to write, over what is there; for a single layer path."""
    others: tuple[Path, ...] = ()
    """Further models whose blocks the layer paths name."""
    outside: OutsideBlocks | None = None
    """The models of what is outside the blocks; None for those beside it on each path."""

    @property
    def models(self) -> ModelPaths:
        """The model and the others."""
        return ModelPaths(self.model, self.others, self.outside)

    @property
    def is_routed(self) -> bool:
        """Whether models run by routing, those as they are along all blocks: all run alike."""
        return any(path is not None for path in (*self.layer_paths, self.reference_path))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read, but for the text."""
        if isinstance(self.reference, ModelReference):
            return *self.models.all, self.reference.model
        if isinstance(self.reference, LogitsFileReference):
            return *self.models.all, self.reference.file
        return self.models.all

    @property
    def reference_path(self) -> LayerPath | None:
        """The layer path of a reference that is run; None for as it is."""
        if self.reference is None or isinstance(self.reference, LogitsFileReference):
            return None
        return self.reference.layer_path


def resolved_reference(models: ModelPaths, reference: Reference | None) -> Reference | None:
    """The reference for a model, its layer path checked; another name of it is the same model.

    Raises UsageError for a path that is not one over the reference; and what `open_gguf` does.
    """
    if reference is None or isinstance(reference, LogitsFileReference):
        return reference
    path = reference.layer_path
    if isinstance(reference, PathReference):
        return PathReference(*resolved_paths(models, [path]))
    base = open_gguf(reference.model).path
    if base == models.first:
        return PathReference(*resolved_paths(models, [path]))
    return ModelReference(base, *resolved_paths(ModelPaths(base), [path]))


def resolved_paths(
    models: ModelPaths, paths: Sequence[AnyPath | None]
) -> tuple[LayerPath | None, ...]:
    """Paths over the blocks of models; None stays None. Raises as `resolved_reference`."""
    file, *others = map(open_gguf, models.all)
    for each in (file, *others):
        check_is_language_model(each)
    return tuple(None if path is None else resolve_path(file, path, others) for path in paths)
