"""What is to be scored: a text, layer paths over a model, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.scoring.chunks import TextSettings


@dataclass(frozen=True)
class PathReference:
    """The same model along a layer path; None: as it is."""

    layer_path: LayerPath | None = None


@dataclass(frozen=True)
class ModelReference:
    """Another model, as it is or along a layer path."""

    model: Path
    layer_path: LayerPath | None = None


@dataclass(frozen=True)
class LogitsFileReference:
    """The logits of a model, saved by this program or by llama-perplexity."""

    file: Path


Reference: TypeAlias = "PathReference | ModelReference | LogitsFileReference"
"""What layer paths are compared with; the command line and llama-perplexity call it the base."""


@dataclass(frozen=True)
class ScoringTask:
    """Layer paths over one model, scored on a text in one stream."""

    model: Path
    layer_paths: tuple[LayerPath | None, ...]
    """Distinct; None for the model as it is."""
    text: bytes
    settings: TextSettings
    devices: Devices
    reference: Reference | None = None
    save_logits: Path | None = None
    """Logits file to write, over what is there; for a single layer path."""

    @property
    def is_routed(self) -> bool:
        """Whether models run by routing, those as they are along all blocks: all run alike."""
        return any(path is not None for path in (*self.layer_paths, self.reference_path))

    @property
    def reference_path(self) -> LayerPath | None:
        """The layer path of a reference that is run; None for as it is."""
        if self.reference is None or isinstance(self.reference, LogitsFileReference):
            return None
        return self.reference.layer_path


def model_reference(model: Path, base: Path, path: AnyPath | None) -> Reference:
    """`base` along `path` as a reference for `model`, which may be the same model.

    Raises UsageError for a path that is not one over `base`; and what `open_gguf` does.
    """
    (resolved,) = resolved_paths(base, [path])
    base, model = open_gguf(base).path, open_gguf(model).path
    return PathReference(resolved) if base == model else ModelReference(base, resolved)


def resolved_paths(model: Path, paths: Sequence[AnyPath | None]) -> tuple[LayerPath | None, ...]:
    """Paths over the blocks of a model; None stays None. Raises as `model_reference`."""
    file = open_gguf(model)
    return tuple(None if path is None else resolve_path(file, path) for path in paths)
