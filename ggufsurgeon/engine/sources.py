"""Loaded models that layer paths take blocks from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.model import Model
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath


@dataclass(frozen=True)
class Sources:
    """Loaded models in the order of their numbers in layer paths."""

    models: tuple[Model, ...]
    outside: OutsideBlocks | None = None
    """The models of what is outside the blocks; None for `OutsideBlocks.beside` of each path."""

    @classmethod
    def of(cls, models: Model | Sequence[Model] | Sources) -> Sources:
        """The sources that a single model, or several, or they themselves are."""
        if isinstance(models, Sources):
            return models
        return cls((models,) if isinstance(models, Model) else tuple(models))

    def outside_of(self, path: LayerPath) -> OutsideBlocks:
        """The models of what is outside the blocks of a path."""
        return self.outside or OutsideBlocks.beside(path)

    @property
    def tokenizer(self) -> Model:
        """The model that reads and writes text."""
        return self.models[0 if self.outside is None else self.outside.tokenizer]

    def devices(self) -> tuple[tuple[DeviceUse, ...], ...]:
        """What each device holds of each model and its most recent context."""
        return tuple(model.devices() for model in self.models)

    def devices_in_turn(self) -> tuple[DeviceUse, ...]:
        """The same in one row, the first model first: a device may be there for each model."""
        return tuple(use for uses in self.devices() for use in uses)

    def check_context(self, n_tokens: int) -> None:
        """Raise UsageError for more tokens than one of the models has learned positions for."""
        for model in self.models:
            model.check_context(n_tokens)
