"""Recipes in YAML that rebuild a file to the byte: of several models, or with other MTP blocks.

They are recipes of ggufsurgeon's own (`yaml_recipes/own_format.py`), with keys that tell which file
it is (`yaml_recipes/made_file.py`). All layers in them are without MTP blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.mtp_change.planning import MTP_OF_SEVERAL
from ggufsurgeon.planning.originals.restoring import MOST_PATCHES
from ggufsurgeon.planning.rebuilding.recipe_text import parse_patch, patch_text
from ggufsurgeon.planning.rebuilding.recipes import (
    FileIdentity,
    FurtherModel,
    Patch,
    Recipe,
    ShardIdentity,
)
from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.recipe import MadeFile, NamedModel, ShardSize, YamlRecipe
from ggufsurgeon.yaml_recipes.tree import MAX_N_BYTES


def recipe_yaml(recipe: Recipe) -> str:
    """The text of a recipe whose first patch is over trunks.

    Raises RefusedError where it would be too long to be read again.
    """
    text = "\n".join((*_lines(recipe), ""))
    if len(text) > MAX_N_BYTES:
        raise RefusedError(
            f"a recipe of this file would be longer than {MAX_N_BYTES:,} bytes, which is refused"
        )
    return text


def _lines(recipe: Recipe) -> Iterator[str]:
    first, *more = recipe.patches
    if first.name is not None:
        yield f'name: "{first.name}"'
    yield "sources:"
    yield from _identity(2, recipe.source, recipe.source_name)
    numbered = [recipe.source_name]
    for model in recipe.further:
        yield from _further(model, len(numbered))
        numbered += [model.name] * (model.number is not None)
    names = {m.number: m.name for m in recipe.further if m.number is not None}
    names[0] = recipe.source_name
    yield f"layers: {_layers(first.layers, names)}"
    if first.outside is not None:
        for key in ("embeddings", "output", "tokenizer"):
            yield f"{key}: {names[getattr(first.outside, key)]}"
    if first.mtp is not None:
        donors = [model.name for model in recipe.further if model.number is None]
        yield f"mtp: {(*donors, NO_MTP)[0]}"
    yield f"made: {_made(first)}"
    if more:
        yield "then:"
        yield from (f"- {patch_text(patch)}" for patch in more)
    yield from _identity(0, recipe.result, "result")


def _layers(path: LayerPath, names: Mapping[int, str]) -> str:
    """Ranges with the names of their models in front."""
    return ", ".join(f"{names[a.source]}:{_blocks(a, b)}" for a, b in path.runs())


def _blocks(first: BlockRef, last: BlockRef) -> LayerPath:
    """A run of blocks without its model."""
    return LayerPath(first.at(0, block) for block in range(first.block, last.block + 1))


def _made(patch: Patch) -> str:
    """What is recorded of a patch besides its layers and the name of the model."""
    text = patch_text(replace(patch, layers=LayerPath.identity(1), name=None))
    return text.removeprefix("0 ")


def _identity(indent: int, identity: FileIdentity, key: str) -> Iterator[str]:
    yield f"{' ' * indent}{key}:"
    space = " " * (indent + 2)
    yield f"{space}n_bytes: {identity.n_bytes}"
    yield f"{space}header_sha256: {identity.header_sha256}"
    if identity.sha256 is not None:
        yield f"{space}sha256: {identity.sha256}"
    if identity.shards:
        yield f"{space}shards:"
    for shard in identity.shards:
        yield f"{space}- {shard.n_bytes} {shard.sha256 or ''}".rstrip()


def _further(model: FurtherModel, place: int) -> Iterator[str]:
    """The lines of a model; `place` is the number that it has without being told."""
    yield f"  {model.name}:"
    if model.n_bytes is not None:
        yield f"    n_bytes: {model.n_bytes}"
    yield f"    header_sha256: {model.header_sha256}"
    if model.sha256 is not None:
        yield f"    sha256: {model.sha256}"
    if model.number not in (None, place):
        yield f"    number: {model.number}"


def recipe_of_yaml(yaml: YamlRecipe, made: MadeFile) -> Recipe:
    """The recipe for the file `made` in a document.

    Raises UsageError for what is no such recipe.
    """
    models = [model for n, model in enumerate(yaml.models) if n != yaml.mtp]
    source = models[0]
    number_of = dict(zip([m.name for m in models], _numbers(yaml, models), strict=True))
    first = _first(yaml, made, [number_of.get(model.name, 0) for model in yaml.models])
    if len(made.then) >= MOST_PATCHES:
        raise made.then[-1].error(f"a recipe has no more than {MOST_PATCHES} patches")
    then = [replace(parse_patch(text.text(), text.place), is_trunk=True) for text in made.then]
    further = (
        FurtherModel(
            model.name,
            number_of.get(model.name),
            _header_sha256(yaml, model),
            model.n_bytes,
            model.sha256,
        )
        for model in yaml.models
        if model is not source
    )
    patches = (first, *then)
    result = _result(made, patches[-1])
    return Recipe(patches, _source(yaml, source), result, tuple(further), source.name)


def _source(yaml: YamlRecipe, source: NamedModel) -> FileIdentity:
    if source.n_bytes is None:
        raise _lacks(yaml, source, "n_bytes")
    sha256 = None if source.shards else source.sha256
    digest = _header_sha256(yaml, source)
    return FileIdentity(source.n_bytes, digest, sha256, _shards(source.shards))


def _numbers(yaml: YamlRecipe, models: Sequence[NamedModel]) -> list[int]:
    """The numbers of models in the layer path: as they follow each other, if nothing is said."""
    numbers = [n if model.number is None else model.number for n, model in enumerate(models)]
    if numbers[0] != 0 or any(b <= a for a, b in pairwise(numbers)):
        raise UsageError(
            f"{yaml.file}: the numbers of the sources are {', '.join(map(str, numbers))}: expected "
            "0 for the first one, and larger ones for those that follow"
        )
    return numbers


def _first(yaml: YamlRecipe, made: MadeFile, numbers: Sequence[int]) -> Patch:
    """The first patch. `numbers` are those of the models in the layer path."""
    patch = _patch_of(made.made)
    steps = (
        BlockRef(numbers[part.model], block, part.strength, part.factors)
        for part in yaml.slices
        for block in range(part.first, part.end or 0)
    )
    outside = yaml.outside
    sides = (outside.embeddings, outside.output, outside.tokenizer)
    mtp = NO_MTP if yaml.without_mtp else None
    if yaml.mtp is not None:
        mtp = _header_sha256(yaml, yaml.models[yaml.mtp])
    is_of_several = any(numbers)
    if is_of_several and mtp is not None:
        raise UsageError(f"{yaml.file}: {MTP_OF_SEVERAL}")
    return replace(
        patch,
        layers=LayerPath(steps),
        name=yaml.name,
        outside=OutsideBlocks(*(numbers[side] for side in sides)) if is_of_several else None,
        mtp=mtp,
        is_trunk=True,
    )


def _patch_of(made: Field) -> Patch:
    """The patch that `made` describes, with any layers."""
    try:
        patch = parse_patch(f"0 {made.text()}", made.place)
    except UsageError:
        raise made.error("expected a value such as: by ggufsurgeon 1.0.0") from None
    if patch.name is not None:
        raise made.error("the name of the model belongs in the key name")
    return patch


def _result(made: MadeFile, last: Patch) -> FileIdentity:
    if len(made.shards) != len(last.n_tensors):
        raise made.made.error(
            f"the result has {len(made.shards)} shards, and the last patch wrote "
            f"{len(last.n_tensors)}"
        )
    return FileIdentity(made.n_bytes, made.header_sha256, made.sha256, _shards(made.shards))


def _shards(shards: Sequence[ShardSize]) -> tuple[ShardIdentity, ...]:
    return tuple(ShardIdentity(*shard) for shard in shards)


def _header_sha256(yaml: YamlRecipe, model: NamedModel) -> str:
    if model.header_sha256 is None:
        raise _lacks(yaml, model, "header_sha256")
    return model.header_sha256


def _lacks(yaml: YamlRecipe, model: NamedModel, key: str) -> UsageError:
    return UsageError(f"{yaml.file}: the source {model.name} lacks {key}, which result requires")
