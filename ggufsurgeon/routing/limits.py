"""Which layer paths cannot be routed: where more than the residual stream reaches other blocks."""

from __future__ import annotations

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
            self._check_width(model)
        self._check_vocabularies(path)

    def _check_width(self, model: Model) -> None:
        first = self._models[0]
        if model.n_embd != first.n_embd:
            raise RefusedError(
                f"the residual stream has {first.n_embd} dimensions in {first.path} and "
                f"{model.n_embd} in {model.path}: their blocks cannot be mixed"
            )

    def _check_vocabularies(self, path: LayerPath) -> None:
        """What is outside the blocks must know the same number of tokens; blocks know none."""
        tokenizer, outside = self._sources.tokenizer, self._sources.outside_of(path)
        for what, source in (("embeddings", outside.embeddings), ("output", outside.output)):
            model = self._models[source]
            if model.n_vocab != tokenizer.n_vocab:
                raise RefusedError(
                    f"the {what} of {model.path} is of {model.n_vocab} tokens, and the tokenizer "
                    f"of {tokenizer.path} has {tokenizer.n_vocab}: they cannot be one model"
                )
