"""The files of the models that layer paths take blocks from, for jobs that load them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.devices.options import Devices
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import OutOfMemoryError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.workers.session import Session


@dataclass(frozen=True)
class ModelPaths:
    """The files of several models, in the order of their numbers in layer paths."""

    first: Path
    others: tuple[Path, ...] = ()
    outside: OutsideBlocks | None = None
    """The models of what is outside the blocks; None for those beside it on each path."""

    @property
    def all(self) -> tuple[Path, ...]:
        """All files."""
        return (self.first, *self.others)

    @property
    def tokenizer(self) -> Path:
        """The file of the model that reads and writes text."""
        return self.all[0 if self.outside is None else self.outside.tokenizer]

    def loaded(self, session: Session, devices: Devices) -> Sources:
        """The models, all on the same devices. Raises as `Session.model`."""
        models: list[Model] = []
        for path in self.all:
            try:
                models.append(session.model(path, devices))
            except OutOfMemoryError as error:
                if models:
                    error.hint = f"{self._side_by_side} {error.hint}"
                raise
        return Sources(tuple(models), self.outside)

    @property
    def _side_by_side(self) -> str:
        sizes = [f"{path.name} ({open_gguf(path).n_bytes / 1e9:.1f} GB)" for path in self.all]
        return f"All models are loaded side by side: {' and '.join(sizes)}."
