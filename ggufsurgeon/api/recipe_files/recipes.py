"""Recipes: what rebuilds a patched file from its original, and YAML over named models."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.api.model_files.sources import plan_over
from ggufsurgeon.api.recipe_files.recipe_notes import naming_notes, same_file_notes
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError
from ggufsurgeon.hashing.whole_file import file_sha256, unreadable
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import check_on_disk
from ggufsurgeon.locating.model_name import model_name, shown_name
from ggufsurgeon.planning.mtp_change.planning import MTP_OF_SEVERAL, plan_with_mtp
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.planning.rebuilding.ingredients import Ingredients, find_ingredients
from ggufsurgeon.planning.rebuilding.recipe_text import LONGEST, is_recipe_text, parse_recipe
from ggufsurgeon.planning.rebuilding.recipes import (
    FileIdentity,
    Recipe,
    ShardIdentity,
    not_the_original,
    plan_recipe,
)
from ggufsurgeon.progress import Progress
from ggufsurgeon.publishing.rebuilding_yaml import recipe_of_yaml
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.writing.digests import sha256_of_plan
from ggufsurgeon.writing.equal_data import check_equal_data
from ggufsurgeon.yaml_recipes.matching import MatchedRecipe, match_models
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from ggufsurgeon.yaml_recipes.recipe import YamlRecipe, listed

STANDARD_INPUT = Path("-")


def make_recipe(patched: GgufFile, progress: Progress) -> Recipe:
    """The recipe of a patched file. Raises as `ModelFile.recipe`."""
    return recipe_of(patched, find_ingredients(patched), progress)


def recipe_of(patched: GgufFile, found: Ingredients, progress: Progress) -> Recipe:
    """The recipe of a patched file that is made of these, with the SHA-256 of its files."""
    plans = found.original.file_plans if found.original else ()
    of_source = [sha256_of_plan(plan, "SHA-256 of original", progress) for plan in plans]
    shards = found.source_shards.shards if found.source_shards else ()
    source_sizes = [shard.n_bytes for shard in shards]
    return Recipe(
        found.patches,
        _identity(found.source_n_bytes, found.source_header_sha256, source_sizes, of_source),
        identify(patched, progress),
        found.further,
    )


def identify(file: GgufFile, progress: Progress) -> FileIdentity:
    """What identifies a file, or its shards, which are hashed."""
    digests = [file_sha256(each, progress) for each in file.files]
    sizes = [shard.layout.n_bytes for shard in file.shards]
    return _identity(file.layout.n_bytes, file.header_sha256, sizes, digests)


def _identity(
    n_bytes: int, header_sha256: str, sizes: Sequence[int], digests: Sequence[str]
) -> FileIdentity:
    """Of a single file, or of shards with these sizes. Their digests, or none if not known."""
    if not sizes:
        return FileIdentity(n_bytes, header_sha256, digests[0] if digests else None)
    unknown: list[str | None] = [None] * len(sizes)
    shards = map(ShardIdentity, sizes, digests or unknown)
    return FileIdentity(n_bytes, header_sha256, None, tuple(shards))


class RecipePath(NamedTuple):
    """The layer path of a recipe, for running it without a file."""

    layer_path: LayerPath
    others: tuple[GgufFile, ...] = ()
    """Models 1, 2 and so on of the path."""
    outside: OutsideBlocks | None = None
    """None for `OutsideBlocks.beside` of the path."""
    notes: tuple[str, ...] = ()
    name: str | None = None


def plan_of_recipe(
    source: GgufFile,
    recipe: Recipe | YamlRecipe,
    others: Mapping[str, GgufFile],
    progress: Progress,
) -> tuple[PatchPlan, Recipe | None]:
    """The plan of a recipe over its original, and the recipe if it has the SHA-256 of the result.

    Raises as `ModelFile.plan_recipe`.
    """
    if isinstance(recipe, YamlRecipe):
        matched = _matched(source, recipe, others, progress)
        planned = _plan_of_matched(matched)
        notes = (*recipe.notes, *matched.notes, *naming_notes(matched), *same_file_notes(matched))
        return replace(planned, source_notes=(*planned.source_notes, *notes)), None
    further = _further(recipe, others)
    planned = plan_recipe(source, recipe, further)
    check_on_disk(source, *further)
    in_shards = bool(recipe.source.shards)
    _check_sha256(source.files if in_shards else [source], recipe.source, progress)
    for model, file in zip(recipe.further, further, strict=True):
        _check_named_sha256(
            file, model.sha256, f"the recipe's model {quoted(model.name)}", progress
        )
    check_equal_data(planned.write_plan.sources, planned.equal_data)
    return planned, recipe


def _plan_of_matched(matched: MatchedRecipe) -> PatchPlan:
    """The plan of a recipe over the files of its models."""
    recipe, (source, *others) = matched.recipe, matched.files
    if not recipe.without_mtp and matched.donor is None:
        return plan_over(
            source, matched.path, others, matched.outside, scale_weights=False, name=recipe.name
        )
    if others:
        raise UsageError(f"{recipe.file}: {MTP_OF_SEVERAL}")
    return plan_with_mtp(source, matched.path, matched.donor, name=recipe.name)


def _further(recipe: Recipe, others: Mapping[str, GgufFile]) -> tuple[GgufFile, ...]:
    """The files of a recipe's further models. Raises UsageError unless they are those given."""
    if others and not recipe.further:
        raise UsageError("this recipe is for one model, and names no others")
    if recipe.source_name in others:
        raise UsageError(
            f"{quoted(recipe.source_name)} is the first model of the recipe: its file is the "
            "source, and only the other models are given by name"
        )
    names = [model.name for model in recipe.further]
    for name in others:
        if name not in names:
            raise UsageError(
                f"the recipe names no model {quoted(name)} besides the source, but {listed(names)}"
            )
    missing = [name for name in names if name not in others]
    if missing:
        raise UnmatchedModelsError(
            f"the recipe takes blocks or other parts from {1 + len(names)} models, and no file is "
            f"given for {listed(missing)}",
            hint=f"The source is the file of {quoted(recipe.source_name)}.",
        )
    return tuple(others[name] for name in names)


def path_of_recipe(
    source: GgufFile,
    recipe: Recipe | YamlRecipe,
    others: Mapping[str, GgufFile],
    progress: Progress,
) -> RecipePath:
    """As `ModelFile.recipe_path`."""
    if isinstance(recipe, YamlRecipe):
        matched = _matched(source, recipe, others, progress)
        beside = OutsideBlocks.beside(matched.path)
        outside = None if matched.outside == beside else matched.outside
        notes = (*same_file_notes(matched), *recipe.notes, *matched.notes)
        return RecipePath(matched.path, matched.files[1:], outside, notes, recipe.name)
    if any(patch.scales_weights for patch in recipe.patches):
        raise RefusedError(
            "the recipe multiplies weights, and a path over the source runs them as they are",
            hint="Write the file of the recipe, and run that.",
        )
    planned, _ = plan_of_recipe(source, recipe, others, progress)
    made = file_of_plan(source, planned.write_plan)
    path = LayerPath(planned.path.steps[: find_blocks(made).n_trunk])
    files = () if planned.donor is not None else planned.others
    outside = recipe.patches[0].outside
    return RecipePath(path, files, None if outside == OutsideBlocks.beside(path) else outside)


def _matched(
    source: GgufFile, recipe: YamlRecipe, others: Mapping[str, GgufFile], progress: Progress
) -> MatchedRecipe:
    """The recipe over files that are those that it names, by size and SHA-256 where it has them."""
    matched = match_models(recipe, source, others)
    for model, file in matched.named:
        where = f"the file that the recipe {quoted(recipe.file)} names"
        if model.n_bytes not in (None, file.layout.n_bytes):
            raise RefusedError(
                f"{file.path} is not {where}: it has {file.layout.n_bytes:,} bytes",
                hint=f"The recipe is for a file of {model.n_bytes:,} bytes.",
            )
        if model.header_sha256 not in (None, file.header_sha256):
            raise RefusedError(
                f"{file.path} is not {where}: its header differs",
                hint=f"The recipe names the SHA-256 {model.header_sha256} of the header.",
            )
        _check_named_sha256(file, model.sha256, where, progress)
    return matched


def _check_named_sha256(file: GgufFile, sha256: str | None, where: str, progress: Progress) -> None:
    """Raise RefusedError unless a file has the SHA-256 that a recipe names, if it names one."""
    if sha256 is None:
        return
    check_on_disk(file)
    if (found := file_sha256(file, progress)) != sha256:
        raise RefusedError(
            f"{file.path} is not {where}: its SHA-256 is {found}, and the recipe has {sha256}",
            hint="Use the file that the recipe was made for; or, if this file is meant, put its "
            "SHA-256 into the recipe.",
        )


def _check_sha256(files: Sequence[GgufFile], expected: FileIdentity, progress: Progress) -> None:
    """Raise RefusedError unless a file, or each of its shards, has the SHA-256 of a recipe."""
    identities: Sequence[FileIdentity | ShardIdentity] = expected.shards or (expected,)
    for file, wanted in zip(files, identities, strict=True):
        if wanted.sha256 is not None and file_sha256(file, progress) != wanted.sha256:
            raise not_the_original(file, "its SHA-256 differs", wanted)


def read_recipe(path: Path) -> Recipe | YamlRecipe:
    """The recipe in a file or a pipe; `-` is standard input.

    Raises UsageError when it cannot be read or is none, and RefusedError for a YAML recipe that
    cannot be followed exactly.
    """
    if model_name(path) is not None:
        raise UsageError(
            f"{shown_name(path)} is the name of a model, but a recipe is read from a file on disk",
            hint="Download the file first: `hf download` takes the repository and the file.",
        )
    if path == STANDARD_INPUT:
        return _parsed(_standard_input(), "standard input")
    try:
        with path.open("rb") as file:
            return _parsed(file.read(LONGEST + 1), str(path))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: expected a file with a recipe") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: expected a file with a recipe") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _parsed(data: bytes, name: str) -> Recipe | YamlRecipe:
    if is_recipe_text(data):
        return parse_recipe(data, name)
    recipe = read_yaml_recipe(data, name)
    return recipe if recipe.made_file is None else recipe_of_yaml(recipe, recipe.made_file)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input: it is closed")
    return sys.stdin.buffer.read(LONGEST + 1)
