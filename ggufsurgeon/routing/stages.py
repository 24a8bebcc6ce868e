"""The contexts of a router: one for each model, and for each way in which its blocks run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.layer_path.path import BlockRef
from ggufsurgeon.routing.models_by_strength import ModelsByStrength
from ggufsurgeon.routing.stage import Stage


class Stages:
    """Stages by source, strength and factors. Those of the loaded models are opened at once.

    `stack` closes them, and frees the models that were made for them.
    """

    def __init__(
        self,
        sources: Sources,
        open_stage: Callable[[Model], AbstractContextManager[Stage]],
        stack: ExitStack,
    ) -> None:
        self.sources = sources
        """The loaded models."""
        self._open_stage = open_stage
        self._stack = stack
        self._models = ModelsByStrength(sources.models, stack)
        self._stages = {
            BlockRef(n, 0): stack.enter_context(open_stage(model))
            for n, model in enumerate(sources.models)
        }

    def of(self, step: BlockRef) -> Stage:
        """The stage that runs a block. Raises RefusedError as `ModelsByStrength.of`."""
        key = step.at(step.source, 0)
        if key not in self._stages:
            model = self._models.of(step)
            self._stages[key] = self._stack.enter_context(self._open_stage(model))
        return self._stages[key]
