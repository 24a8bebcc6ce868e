"""The models whose blocks a path runs: loaded ones, and over their weights others with strengths.

A block with a strength or factors is the block of a model all of whose blocks have these, if they
can have them, aliased over the weights of the loaded one. So its graph is that of a written file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import AliasingUnavailableError, RefusedError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import can_run_as


class ModelsByStrength:
    """Models by source, strength and factors, made when they are first asked for.

    A stack frees them.
    """

    def __init__(self, models: Sequence[Model], stack: ExitStack) -> None:
        self._stack = stack
        self._models = {BlockRef(n, 0): model for n, model in enumerate(models)}

    def of(self, step: BlockRef) -> Model:
        """The model that runs a block. Raises RefusedError where none can be aliased."""
        key = step.at(step.source, 0)
        if key not in self._models:
            loaded = self._models[BlockRef(step.source, 0)]
            path = _every_block(loaded, step)
            try:
                self._models[key] = self._stack.enter_context(alias(loaded, path))
            except AliasingUnavailableError as error:
                raise RefusedError(
                    "without a file, a block has a strength or factors only in an aliased model: "
                    f"{error}"
                ) from None
        return self._models[key]


def _every_block(model: Model, step: BlockRef) -> LayerPath:
    """All blocks of a model, like a step, but for those that cannot be, which run as is."""
    header, blocks = model.file.header, find_blocks(model.file)
    alike = (step.at(0, block) for block in range(model.n_blocks))
    return LayerPath(
        each if can_run_as(header, blocks, each) else BlockRef(0, each.block) for each in alike
    )
