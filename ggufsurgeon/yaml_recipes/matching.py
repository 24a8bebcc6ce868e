"""The layer path of a YAML recipe over the files that stand for its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.yaml_recipes.recipe import UNNAMED, Slice, YamlRecipe, listed
from ggufsurgeon.yaml_recipes.scales import strength_of_block

TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class MatchedRecipe:
    """A recipe whose models are files: model 0 is the source, the others follow as in the recipe.

    Those behind the source are in the order in which the recipe names them.
    """

    recipe: YamlRecipe
    path: LayerPath
    files: tuple[GgufFile, ...]
    """The source, and the other models."""
    outside: OutsideBlocks
    sha256s: tuple[str | None, ...]
    """What the recipe says of each file."""
    names: tuple[str, ...]
    """What the recipe calls each file."""


def match_models(
    recipe: YamlRecipe, source: GgufFile, others: Mapping[str, GgufFile]
) -> MatchedRecipe:
    """Let `source` stand for the model of the recipe that is not among the names of `others`.

    Raises UsageError when the names do not fit, or a model has fewer blocks than the recipe takes
    from it, and RefusedError when a scale is no strength, or vocabularies differ that must not.
    """
    left = _only_one_left(recipe, others)
    order = [left, *(n for n in range(len(recipe.models)) if n != left)]
    names = [recipe.models[n].name for n in order]
    files = (source, *(others[name] for name in names[1:]))
    index_of = {model: index for index, model in enumerate(order)}
    if recipe.needs_one_vocabulary:
        _check_one_vocabulary(recipe, names, files)
    steps = [
        step
        for part in recipe.slices
        for step in _steps(part, recipe, index_of[part.model], files[index_of[part.model]])
    ]
    outside = recipe.outside
    parts = (outside.embeddings, outside.output, outside.tokenizer)
    return MatchedRecipe(
        recipe,
        LayerPath(steps),
        files,
        OutsideBlocks(*(index_of[model] for model in parts)),
        tuple(recipe.models[n].sha256 for n in order),
        tuple(names),
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


def _steps(part: Slice, recipe: YamlRecipe, index: int, file: GgufFile) -> Iterator[BlockRef]:
    """The blocks of a slice, with their strengths."""
    n_blocks = find_blocks(file).n_trunk
    end = n_blocks if part.end is None else part.end
    if end > n_blocks:
        name = quoted(recipe.models[part.model].name)
        raise UsageError(
            f"{part.place}: blocks {part.first} to {end - 1} of {name}, and {file.path} has "
            f"{n_blocks} blocks, 0 to {n_blocks - 1}"
        )
    length = end - part.first
    for position, block in enumerate(range(part.first, end)):
        strength = part.strength
        if part.scales:
            strength = strength_of_block(part.scales, file.header, block, position, length)
        yield _step(part, index, block, strength)


def _step(part: Slice, index: int, block: int, strength: float) -> BlockRef:
    try:
        return BlockRef(index, block, strength)
    except UsageError as error:
        place = part.scales[0].field.place if part.scales else part.place
        raise UsageError(f"{place}: {error}", hint=error.hint) from None
