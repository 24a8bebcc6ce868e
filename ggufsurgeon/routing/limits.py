"""Which layer paths cannot be routed: where more than the residual stream reaches other blocks."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import ModelRules, can_be_mixed, has_crossing
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import check_strengths


class Limits:
    """The limits for paths over these models, from their headers.

    Metadata sets no limits: a block of a loaded model is what it is, wherever it runs.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._models = sources.models
        self._files = [model.file for model in self._models]
        self._rules = [ModelRules(file, find_blocks(file)) for file in self._files]
        self.crossing = any(map(has_crossing, self._files))
        """Whether more than the residual stream may reach later blocks."""

    def check(self, path: LayerPath) -> None:
        """Raise RefusedError when routing would not be exact, UsageError for no such path."""
        path.check_within(*(model.n_blocks for model in self._models))
        outside = self._sources.outside_of(path)
        sides = {outside.embeddings, outside.output}
        used = sorted(sides | {step.source for step in path.steps})
        if len(used) == 1:
            self._rules[used[0]].check_routing(path)
        else:
            self._check_mixed(path, used)
        for what, source in (("embeddings", outside.embeddings), ("output", outside.output)):
            self._check_vocabulary(what, self._models[source])

    def _check_mixed(self, path: LayerPath, used: Sequence[int]) -> None:
        for n in used:
            model, file = self._models[n], self._files[n]
            of_source = LayerPath(step for step in path.steps if step.source == n)
            check_strengths(file.header, find_blocks(file), of_source)
            if not can_be_mixed(file):
                raise RefusedError(
                    f"{model.path}: in {model.architecture} more than the residual stream goes "
                    "from block to block: its blocks cannot be mixed with those of another model"
                )
            self._check_width(self._models[used[0]], model)

    def _check_width(self, first: Model, model: Model) -> None:
        if model.n_embd != first.n_embd:
            raise RefusedError(
                f"the residual stream has {first.n_embd} dimensions in {first.path} and "
                f"{model.n_embd} in {model.path}: their blocks cannot be mixed"
            )

    def _check_vocabulary(self, what: str, model: Model) -> None:
        """What is outside the blocks must know the tokens of the tokenizer; blocks know none."""
        tokenizer = self._sources.tokenizer
        if model.n_vocab != tokenizer.n_vocab:
            raise RefusedError(
                f"the {what} of {model.path} is of {model.n_vocab} tokens, and the tokenizer of "
                f"{tokenizer.path} has {tokenizer.n_vocab}: they cannot be one model"
            )
