"""The models whose blocks a path runs: loaded ones, and over their weights others with strengths.

A block with a strength is the block of a model all of whose blocks have that strength, if they can
have one, aliased over the weights of the loaded one. So its graph is that of a written file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import AliasingUnavailableError, RefusedError
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import can_have_strength


class ModelsByStrength:
    """Models by source and strength, made when they are first asked for, and freed by a stack."""

    def __init__(self, models: Sequence[Model], stack: ExitStack) -> None:
        self._stack = stack
        self._models = {(n, FULL): model for n, model in enumerate(models)}

    def of(self, step: BlockRef) -> Model:
        """The model that runs a block. Raises RefusedError where none can be aliased."""
        key = step.source, step.strength
        if key not in self._models:
            loaded = self._models[step.source, FULL]
            path = _every_block(loaded, step.strength)
            try:
                self._models[key] = self._stack.enter_context(alias(loaded, path))
            except AliasingUnavailableError as error:
                raise RefusedError(
                    f"without a file, a block has a strength only in an aliased model: {error}"
                ) from None
        return self._models[key]


def _every_block(model: Model, strength: float) -> LayerPath:
    """All blocks of a model with a strength, but for those that can have none, which run as is."""
    header, blocks = model.file.header, find_blocks(model.file)
    able = (can_have_strength(header, blocks, block) for block in range(model.n_blocks))
    return LayerPath(
        BlockRef(0, block, strength if can else FULL) for block, can in enumerate(able)
    )
