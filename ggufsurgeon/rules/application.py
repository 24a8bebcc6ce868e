"""The rules of a model's architecture, applied to layer paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ggufsurgeon.architectures.model import Edit, Model
from ggufsurgeon.architectures.residual import residual_nodes
from ggufsurgeon.architectures.table import Architecture, find_architecture
from ggufsurgeon.architectures.vocabulary.arrays import check_arrays_known
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.rules.strengths import check_strengths
from ggufsurgeon.rules.tensor_names import TensorLists


class ModelRules:
    """The rules of one model, applied to any number of paths: `inspect` tries thousands.

    What depends on the model alone is computed once. Every method raises RefusedError when
    the architecture is not known.
    """

    def __init__(self, source: GgufFile, blocks: Blocks, *, scale_weights: bool = False) -> None:
        self._header = source.header
        self._blocks = blocks
        self._model = Model(source.header, len(blocks), blocks.n_mtp, scale_weights)
        self._mtp_blocks = tuple(range(blocks.n_trunk, len(blocks)))

    @cached_property
    def _architecture(self) -> Architecture:
        return find_architecture(self._header.architecture)

    @cached_property
    def _tensor_lists(self) -> TensorLists:
        return TensorLists(self._header)

    @cached_property
    def _unknown_array(self) -> RefusedError | None:
        """The refusal of an array that no rule covers. Cached, since there may be many arrays."""
        try:
            check_arrays_known(self._header, self._architecture.known_arrays)
        except RefusedError as error:
            return error
        return None

    def apply(self, trunk: Sequence[int]) -> list[Edit]:
        """The pairs to write so that every block computes the same as in the source.

        `trunk` is the path over the trunk: block indices in the order in which they run. Raises
        RefusedError where no metadata does that, or where it is not known.
        """
        path = self._with_mtp(trunk)
        return [*self._edits(path), *self._tensor_lists.follow(path)]

    def judge(self, trunk: Sequence[int]) -> tuple[str, ...]:
        """The notes of the edits. Raises RefusedError as `apply`, but is faster."""
        path = self._with_mtp(trunk)
        edits = self._edits(path)
        self._tensor_lists.check()
        return tuple(dict.fromkeys(edit.note for edit in edits if edit.note))

    def _edits(self, path: Sequence[int]) -> list[Edit]:
        """The edits that the rules of the architecture require."""
        check_count(self._architecture, len(path))
        if self._unknown_array is not None:
            raise RefusedError(str(self._unknown_array), hint=self._unknown_array.hint)
        rules = self._architecture.rules
        return [edit for rule in rules for edit in rule.follow(self._model, path)]

    def check_strengths(self, trunk: LayerPath) -> None:
        """Raise RefusedError where scales do not do what strengths and factors of a path mean."""
        check_strengths(self._header, self._blocks, trunk)

    def check_routing(self, trunk: LayerPath) -> None:
        """Raise RefusedError when blocks of a path would miss more than the residual stream, or
        when another block would run where later blocks need what feeds block 0. A block with a
        strength or factors is one of another model over the same weights: all else would not reach
        it."""
        self.check_strengths(trunk)
        path = self._with_mtp(trunk.blocks)
        if not trunk.is_plain and any(rule.crosses for rule in self._architecture.rules):
            raise RefusedError(
                f"in {self._architecture.name} more than the residual stream goes from block to "
                "block, so that without a file its blocks cannot have strengths or factors when "
                "they run routed"
            )
        is_moved = path[0] != 0 or 0 in path[1:]
        if is_moved and residual_nodes(self._architecture.name).first_input_feeds_more:
            raise RefusedError(
                f"later blocks of {self._architecture.name} read what feeds block 0 too, so "
                "without a file block 0 must run first and once"
            )
        for rule in self._architecture.rules:
            if rule.crosses:
                for _ in rule.follow(self._model, path):
                    pass

    def factors(self, trunk: Sequence[int]) -> dict[str, float]:
        """Factors for F32 tensors of every block, by their name within it: `scale_weights`."""
        path = self._with_mtp(trunk)
        found: dict[str, float] = {}
        for rule in self._architecture.rules:
            found |= rule.factors(self._model, path)
        return found

    def labels(self) -> list[str]:
        """The kind of each block, such as `sliding, dense`; empty where all are alike."""
        rules, n_trunk = self._architecture.rules, self._blocks.n_trunk
        labels = [[rule.label(self._model, block) for rule in rules] for block in range(n_trunk)]
        trunk = [", ".join(label for label in found if label) for found in labels]
        return trunk + ["MTP"] * self._blocks.n_mtp

    def _with_mtp(self, trunk: Sequence[int]) -> tuple[int, ...]:
        return (*trunk, *self._mtp_blocks)


def check_count(architecture: Architecture, n_blocks: int) -> None:
    """Raise RefusedError when llama.cpp does not run `n_blocks`, MTP blocks included."""
    longest = architecture.max_blocks
    if n_blocks > longest:
        raise RefusedError(
            f"the layer path has {n_blocks} blocks; llama.cpp does not run more than {longest}",
            hint="Repeat a shorter window, or fewer times.",
        )


def has_crossing(source: GgufFile) -> bool:
    """Whether more than the residual stream may reach other blocks of this model."""
    return any(rule.crosses for rule in find_architecture(source.header.architecture).rules)


def can_be_mixed(source: GgufFile) -> bool:
    """Whether blocks of this model need nothing but the residual stream, of whichever model."""
    nodes = residual_nodes(find_architecture(source.header.architecture).name)
    return not has_crossing(source) and not nodes.first_input_feeds_more


def with_mtp(path: LayerPath, blocks: Blocks) -> LayerPath:
    """A path over the trunk, with the MTP blocks behind it: they must stay last."""
    tail = LayerPath.of(range(blocks.n_trunk, len(blocks)))
    return LayerPath((*path.steps, *tail.steps))
