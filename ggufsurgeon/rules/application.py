"""What the rules of a model's architecture make of a layer path."""

from __future__ import annotations

from ggufsurgeon.architectures.arrays import check_arrays_known
from ggufsurgeon.architectures.model import Edit, Model
from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.rules.tensor_names import follow_tensor_names


def follow(
    source: GgufFile, blocks: Blocks, path: LayerPath, *, scale_weights: bool = False
) -> list[Edit]:
    """The pairs to write so that every block of a path over the trunk computes what it did.

    With `scale_weights` some may need `factors_of` besides. Raises RefusedError where no metadata
    does that, or what would is not known.
    """
    architecture = find_architecture(source.header.architecture)
    whole = with_mtp(path, blocks)
    check_count(source, len(whole))
    check_arrays_known(source.header, architecture.known_arrays)
    model = _model(source, blocks, scale_weights)
    edits = [edit for rule in architecture.rules for edit in rule.follow(model, whole.blocks)]
    return [*edits, *follow_tensor_names(source.header, whole.blocks)]


def check_count(source: GgufFile, n_blocks: int) -> None:
    """Raise RefusedError when llama.cpp does not run so many blocks."""
    longest = find_architecture(source.header.architecture).max_blocks
    if n_blocks > longest:
        raise RefusedError(
            f"the layer path has {n_blocks} blocks; llama.cpp does not run more than {longest}",
            hint="Repeat a shorter window, or fewer times.",
        )


def check_crossing(source: GgufFile, blocks: Blocks, path: LayerPath) -> None:
    """Raise RefusedError when blocks of a path would miss more than the residual stream."""
    model, whole = _model(source, blocks), with_mtp(path, blocks).blocks
    for rule in find_architecture(source.header.architecture).rules:
        if rule.crosses:
            for _ in rule.follow(model, whole):
                pass


def has_crossing(source: GgufFile) -> bool:
    """Whether more than the residual stream may reach other blocks of this model."""
    return any(rule.crosses for rule in find_architecture(source.header.architecture).rules)


def factors_of(source: GgufFile, blocks: Blocks, path: LayerPath) -> dict[str, float]:
    """What to multiply F32 tensors of every block by, by their name within it: `scale_weights`."""
    model, whole = _model(source, blocks), with_mtp(path, blocks)
    found: dict[str, float] = {}
    for rule in find_architecture(source.header.architecture).rules:
        found |= rule.factors(model, whole.blocks)
    return found


def with_mtp(path: LayerPath, blocks: Blocks) -> LayerPath:
    """A path over the trunk, with the MTP blocks behind it: they must stay last."""
    tail = LayerPath.of(range(blocks.n_trunk, len(blocks)))
    return LayerPath((*path.steps, *tail.steps))


def label_blocks(source: GgufFile, blocks: Blocks) -> list[str]:
    """What kind each block is, by the rules: `sliding, dense`. Empty where all are alike."""
    rules = find_architecture(source.header.architecture).rules
    model = _model(source, blocks)
    labels = [[rule.label(model, block) for rule in rules] for block in range(len(blocks))]
    trunk = [", ".join(label for label in found if label) for found in labels[: blocks.n_trunk]]
    return trunk + ["MTP"] * blocks.n_mtp


def _model(source: GgufFile, blocks: Blocks, scale_weights: bool = False) -> Model:
    return Model(source.header, len(blocks), blocks.n_mtp, scale_weights)
