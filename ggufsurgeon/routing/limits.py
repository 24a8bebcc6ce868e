"""Which layer paths cannot be routed: where more than the residual stream reaches other blocks."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import ModelRules, can_be_mixed, has_crossing
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import check_strengths


class Limits:
    """The limits for paths over these models, from their headers.

    Metadata sets no limits: a block of a loaded model is what it is, wherever it runs.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models
        self._files = [model.file for model in models]
        self._rules = ModelRules(self._files[0], find_blocks(self._files[0]))
        self.crossing = has_crossing(self._files[0])
        """Whether more than the residual stream may reach later blocks."""

    def check(self, path: LayerPath) -> None:
        """Raise RefusedError when routing would not be exact, UsageError for no such path."""
        path.check_within(*(model.n_blocks for model in self._models))
        if len(self._models) == 1:
            self._rules.check_routing(path)
            return
        for n, (model, file) in enumerate(zip(self._models, self._files, strict=True)):
            of_source = LayerPath(step for step in path.steps if step.source == n)
            check_strengths(file.header, find_blocks(file), of_source)
            if not can_be_mixed(file):
                raise RefusedError(
                    f"{model.path}: in {model.architecture} more than the residual stream goes "
                    "from block to block: its blocks cannot be mixed with those of another model"
                )
            self._check_shapes(model)

    def _check_shapes(self, model: Model) -> None:
        first = self._models[0]
        for what, ours, theirs in (
            ("the residual stream", first.n_embd, model.n_embd),
            ("the vocabulary", first.n_vocab, model.n_vocab),
        ):
            if ours != theirs:
                raise RefusedError(
                    f"{what} has {ours} dimensions in {first.path} and {theirs} in {model.path}: "
                    "their blocks cannot be mixed"
                )
