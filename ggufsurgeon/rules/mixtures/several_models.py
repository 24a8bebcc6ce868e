"""The rules of several models of one architecture, applied to paths over all of their blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from ggufsurgeon.architectures.model import Edit, Model, scalar_edit
from ggufsurgeon.architectures.residual import residual_nodes
from ggufsurgeon.architectures.several import MixedModels
from ggufsurgeon.architectures.table import Architecture, find_architecture
from ggufsurgeon.architectures.vocabulary.arrays import check_arrays_known
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import check_count
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.rules.mixtures.descriptions import description_notes
from ggufsurgeon.rules.mixtures.mixing import OF_TOKENIZER, check_agreement, context_edits
from ggufsurgeon.rules.mixtures.vocabularies import TOKENS, vocabulary_notes, with_tokenizer_of
from ggufsurgeon.rules.strengths import check_strengths


class SeveralModels:
    """Several models, and which of them the parts outside the blocks come from.

    Raises RefusedError where their blocks cannot be in one file, whatever the path is.
    """

    def __init__(
        self, files: Sequence[GgufFile], blocks: Sequence[Blocks], outside: OutsideBlocks
    ) -> None:
        self._files = tuple(files)
        self._blocks = tuple(blocks)
        self._outside = outside
        self._check()

    @cached_property
    def header(self) -> Header:
        """The header of model 0 with the tokenizer of its model, and no tensors."""
        first = self._files[0].header
        pairs = first.pairs
        if self._outside.tokenizer:
            pairs = with_tokenizer_of(first, self._files[self._outside.tokenizer].header)
        return Header(first.version, first.byte_order, pairs, ())

    def apply(self, trunk: LayerPath) -> list[Edit]:
        """The pairs of `header` to write so that every block computes the same as in its model.

        `trunk` is the path over the trunks. Raises RefusedError where no metadata does that.
        """
        architecture, mixed = self._architecture, self._mixed
        head = replace(mixed.models[0], header=self._with_tensors)
        check_count(architecture, len(trunk) + head.n_mtp)
        joined = mixed.joined(head, architecture.rules)
        steps = [(step.source, step.block) for step in trunk.steps]
        edits = [
            edit for rule in architecture.rules for edit in mixed.follow(rule, head, joined, steps)
        ]
        edits += self._scalars_that_became_arrays(joined, edits)
        return [*edits, *context_edits(mixed.models), *self._vocabulary_size()]

    def check_strengths(self, trunk: LayerPath) -> None:
        """Raise RefusedError where scales do not do what strengths and factors of a path mean."""
        for n, (file, blocks) in enumerate(zip(self._files, self._blocks, strict=True)):
            of_model = (step for step in trunk.steps if step.source == n)
            check_strengths(file.header, blocks, LayerPath(of_model))

    def notes(self) -> tuple[str, ...]:
        """Facts about the models that a user should know, as sentences."""
        return (
            *vocabulary_notes(self._files, self._outside.tokenizer),
            *description_notes(self._files),
        )

    @cached_property
    def _architecture(self) -> Architecture:
        return find_architecture(self._files[0].header.architecture)

    @cached_property
    def _mixed(self) -> MixedModels:
        models = tuple(
            Model(file.header, len(blocks), blocks.n_mtp)
            for file, blocks in zip(self._files, self._blocks, strict=True)
        )
        names = tuple(str(file.path) for file in self._files)
        return MixedModels(models, names, self._outside.output)

    @property
    def _with_tensors(self) -> Header:
        return replace(self.header, tensors=self._files[0].header.tensors)

    def _check(self) -> None:
        architecture = self._architecture
        check_agreement(self._files, architecture)
        if any(rule.crosses for rule in architecture.rules) or (
            residual_nodes(architecture.name).first_input_feeds_more
        ):
            raise RefusedError(
                f"in {architecture.name}, blocks pass on more than the residual stream: its "
                f"blocks cannot be mixed with those of another model"
            )
        counts = [blocks.n_mtp for blocks in self._blocks]
        if len(set(counts)) > 1:
            raise RefusedError(
                f"the models have {' and '.join(map(str, counts))} MTP blocks: it is unclear "
                f"which ones belong to a path over these models"
            )
        for file in self._files:
            check_arrays_known(file.header, architecture.known_arrays)
        self._mixed.check(architecture.rules)

    def _scalars_that_became_arrays(self, joined: Model, edits: Sequence[Edit]) -> Iterator[Edit]:
        """Joined arrays that a path leaves as they are, where model 0 has another pair."""
        written = {edit.pair.key for edit in edits}
        before = self.header.pair_of
        for pair in joined.header.pairs:
            is_other = pair.key not in before or before[pair.key].raw != pair.raw
            if is_other and pair.key not in written:
                yield Edit(pair)

    def _vocabulary_size(self) -> Iterator[Edit]:
        """The number of tokens, where model 0 has a key of another number."""
        first, theirs = self._mixed.models[0], self._mixed.models[self._outside.tokenizer]
        for suffix in OF_TOKENIZER:
            if not self._outside.tokenizer or first.pair(suffix) is None:
                continue
            tokens = theirs.header.pair_of.get(TOKENS)
            n_tokens = (
                read_array_prefix(tokens.raw, tokens.value_at, tokens.byte_order)[1]
                if tokens is not None
                else 0
            )
            size = theirs.number(suffix, n_tokens)
            if size != first.number(suffix):
                yield scalar_edit(first, suffix, ValueType.UINT32, size)
