"""What is to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scoring.chunks import TextSettings


@dataclass(frozen=True)
class Side:
    """A model, and the layer path along which it runs; None: as it is."""

    model: Path
    layer_path: LayerPath | None = None


@dataclass(frozen=True)
class BaseLogits:
    """A base file, and what messages call it."""

    path: Path
    name: str
    first_chunk: int = 0
    """Which chunk of the text is the first in it."""


@dataclass(frozen=True)
class Task:
    """A model on a text, by itself or against one base."""

    side: Side
    text: bytes
    settings: TextSettings
    options: Devices
    base: Side | None = None
    """A base that is run too: if it is the same model, it is loaded once."""
    base_logits: BaseLogits | None = None
    """Or what a base has said."""
    save_to: Path | None = None
    """Where to write the logits as a base file, over what is there."""
    save_exact: bool = False
    """Whether as 32-bit floats, without a clamp."""
    first: int = 0
    """The first chunk to measure."""
    last: int | None = None
    """The chunk to stop before; None for all that there are."""
    is_routed: bool = False
    """Whether models run by routing, also those without a layer path: so both round alike."""

    @property
    def base_is_itself(self) -> bool:
        """Whether the base is the same model, which then needs to be loaded only once."""
        return self.base is not None and self.base.model == self.side.model
