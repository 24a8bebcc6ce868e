"""The layer path of a YAML recipe over the files that stand for its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError
from ggufsurgeon.layer_path.factors import Factors
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.yaml_recipes.checkpoint_names import CheckpointNames
from ggufsurgeon.yaml_recipes.recipe import UNNAMED, NamedModel, Slice, YamlRecipe, listed
from ggufsurgeon.yaml_recipes.scales import idle_filters, multipliers_of_block

TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class MatchedRecipe:
    """A recipe whose models are files: model 0 is the source, the others follow as in the recipe.

    Those behind the source are in the order in which the recipe names them.
    """

    recipe: YamlRecipe
    path: LayerPath
    files: tuple[GgufFile, ...]
    """The source, and the other models that blocks or other parts come from."""
    outside: OutsideBlocks
    donor: GgufFile | None
    """The file that MTP blocks are taken from, if the recipe names one."""
    named: tuple[tuple[NamedModel, GgufFile], ...]
    """What the recipe says of each file."""
    names: tuple[str, ...]
    """What the recipe calls each file."""
    notes: tuple[str, ...] = ()
    """What of the recipe has no effect on these files, as sentences."""


def match_models(
    recipe: YamlRecipe, source: GgufFile, others: Mapping[str, GgufFile]
) -> MatchedRecipe:
    """Let `source` stand for the model of the recipe that is not among the names of `others`.

    Raises UsageError when the names do not fit, or a model has fewer blocks than the recipe takes
    from it, and RefusedError when a scale is neither a strength nor a factor that a file can hold,
    or vocabularies differ that must not.
    """
    left = _only_one_left(recipe, others)
    if left == recipe.mtp:
        raise UsageError(
            f"{recipe.file} takes only MTP blocks from {quoted(recipe.models[left].name)}: it is "
            "not the source",
            hint="The source is a file of a model whose blocks run.",
        )
    order = [left, *(n for n in range(len(recipe.models)) if n not in (left, recipe.mtp))]
    file_of = {n: others.get(model.name, source) for n, model in enumerate(recipe.models)}
    index_of = {model: index for index, model in enumerate(order)}
    if recipe.needs_one_vocabulary:
        names = [recipe.models[n].name for n in order]
        _check_one_vocabulary(recipe, names, [file_of[n] for n in order])
    steps = [
        step
        for part in recipe.slices
        for step in _steps(part, recipe, index_of[part.model], file_of[part.model])
    ]
    outside = recipe.outside
    parts = (outside.embeddings, outside.output, outside.tokenizer)
    return MatchedRecipe(
        recipe,
        LayerPath(steps),
        tuple(file_of[n] for n in order),
        OutsideBlocks(*(index_of[model] for model in parts)),
        None if recipe.mtp is None else file_of[recipe.mtp],
        tuple((recipe.models[n], file) for n, file in file_of.items()),
        tuple(recipe.models[n].name for n in order),
        tuple(_notes(recipe, file_of)),
    )


def _notes(recipe: YamlRecipe, files: Mapping[int, GgufFile]) -> Iterator[str]:
    """Notes on filters, such as one with a slip of the pen; the recipe may scale nothing else."""
    levels = [
        (part.scales, CheckpointNames(files[part.model].header), _blocks(part, files[part.model]))
        for part in recipe.slices
        if part.scales
    ]
    for condition in idle_filters(levels):
        yield (
            f"{condition.field.place}: the filter {quoted(condition.filter or '')} is in the name "
            "of no weight of these blocks, so its value multiplies nothing"
        )


def _only_one_left(recipe: YamlRecipe, others: Mapping[str, GgufFile]) -> int:
    """The index of the model that no file is given for. Raises UsageError unless it is one."""
    names = [model.name for model in recipe.models]
    models = listed(names)
    for name in others:
        if names == [UNNAMED]:
            raise UsageError(f"{recipe.file} is for one model, which is the source: it names none")
        if name not in names:
            raise UsageError(f"{recipe.file} names no model {quoted(name)}; its models: {models}")
    left = [n for n, name in enumerate(names) if name not in others]
    if len(left) == 1:
        return left[0]
    if not left:
        raise UsageError(
            f"{recipe.file}: other files are given for all of its models: {models}",
            hint="Leave out the file of one of them: that model is the source, whose file is "
            "given already.",
        )
    missing = listed([names[n] for n in left])
    raise UnmatchedModelsError(
        f"{recipe.file} takes blocks or other parts from {len(names)} models: {models}",
        hint=f"Give files for all but one of {missing}; the source is the file of that one.",
    )


def _check_one_vocabulary(
    recipe: YamlRecipe, names: Sequence[str], files: Sequence[GgufFile]
) -> None:
    first = files[0].header.get(TOKENS)
    for name, file in zip(names, files, strict=True):
        if file.header.get(TOKENS) != first:
            raise RefusedError(
                f"{recipe.file} wants the union of all vocabularies, but {quoted(names[0])} and "
                f"{quoted(name)} have different ones: new embeddings would be needed",
                hint="Name one of the models in tokenizer_source, whose vocabulary is then used.",
            )


def _blocks(part: Slice, file: GgufFile) -> range:
    """The blocks of a slice, of which the file may have fewer."""
    return range(part.first, find_blocks(file).n_trunk if part.end is None else part.end)


def _steps(part: Slice, recipe: YamlRecipe, index: int, file: GgufFile) -> Iterator[BlockRef]:
    """The blocks of a slice, with their strengths and factors."""
    n_blocks = find_blocks(file).n_trunk
    blocks = _blocks(part, file)
    if blocks.stop > n_blocks:
        name = quoted(recipe.models[part.model].name)
        raise UsageError(
            f"{part.place}: blocks {part.first} to {blocks.stop - 1} of {name}, and {file.path} "
            f"has {n_blocks} blocks, 0 to {n_blocks - 1}"
        )
    names, length = CheckpointNames(file.header), blocks.stop - part.first
    for position, block in enumerate(blocks):
        multipliers = part.strength, part.factors
        if part.scales:
            multipliers = multipliers_of_block(part.scales, names, block, position, length)
        yield _step(part, index, block, *multipliers)


def _step(part: Slice, index: int, block: int, strength: float, factors: Factors) -> BlockRef:
    try:
        return BlockRef(index, block, strength, factors)
    except UsageError as error:
        place = part.scales[0].field.place if part.scales else part.place
        raise UsageError(f"{place}: {error}", hint=error.hint) from None
