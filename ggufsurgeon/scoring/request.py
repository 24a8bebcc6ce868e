"""What was asked for, as a task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.task import BaseLogits, Side, Task


@dataclass(frozen=True)
class BaseRequest:
    """A model, a layer path of it or of the model that is measured, or a file of logits."""

    model: Path | None = None
    path: AnyPath | None = None
    logits: Path | None = None


def make_task(
    model: Path,
    path: AnyPath | None,
    base: BaseRequest,
    text: bytes,
    settings: TextSettings | None,
    options: Devices | None,
) -> Task:
    """A path that no base is named for is measured against the model as it is.

    Raises UsageError for two bases at once, or a path that is none; and what `open_gguf` does.
    """
    is_run = base.model is not None or base.path is not None
    if is_run and base.logits is not None:
        raise UsageError("a model is measured against one base: a model or its logits")
    is_against_itself = path is not None and not is_run and base.logits is None
    return Task(
        _side(model, path),
        text,
        settings or TextSettings(),
        options or Devices(),
        base=_side(base.model or model, base.path) if is_run or is_against_itself else None,
        base_logits=BaseLogits(base.logits, str(base.logits)) if base.logits else None,
        is_routed=path is not None or base.path is not None,
    )


def _side(model: Path, path: AnyPath | None) -> Side:
    file = open_gguf(model)
    return Side(file.path, None if path is None else resolve_path(file, path))
