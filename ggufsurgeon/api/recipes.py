"""Recipes: what rebuilds a patched file from its original, and YAML over named models."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.api.recipe_notes import naming_notes, same_file_notes
from ggufsurgeon.api.sources import plan_over
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.hashing.whole_file import file_sha256, unreadable
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import check_on_disk
from ggufsurgeon.locating.model_name import model_name, shown_name
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.planning.recipe_text import LONGEST, is_recipe_text, parse_recipe
from ggufsurgeon.planning.recipes import (
    FileIdentity,
    Recipe,
    ShardIdentity,
    find_ingredients,
    not_the_original,
    plan_recipe,
)
from ggufsurgeon.progress import Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.writing.digests import sha256_of_plan
from ggufsurgeon.yaml_recipes.matching import MatchedRecipe, match_models
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from ggufsurgeon.yaml_recipes.recipe import YamlRecipe

STANDARD_INPUT = Path("-")


def make_recipe(patched: GgufFile, progress: Progress) -> Recipe:
    """The recipe of a patched file. Raises as `ModelFile.recipe`."""
    found = find_ingredients(patched)
    plans = found.original.file_plans if found.original else ()
    of_source = [sha256_of_plan(plan, "SHA-256 of original", progress) for plan in plans]
    shards = found.source_shards.shards if found.source_shards else ()
    source_sizes = [shard.n_bytes for shard in shards]
    return Recipe(
        found.patches,
        _identity(found.source_n_bytes, found.source_header_sha256, source_sizes, of_source),
        identify(patched, progress),
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
        files, outside = matched.files[1:], matched.outside
        planned = plan_over(
            source, matched.path, files, outside, scale_weights=False, name=recipe.name
        )
        notes = (*recipe.notes, *naming_notes(matched), *same_file_notes(matched))
        planned = replace(planned, source_notes=(*planned.source_notes, *notes))
        return planned, None
    if others:
        raise UsageError(
            "this recipe is for one model, and names no others", hint="Give no further files."
        )
    planned = plan_recipe(source, recipe)
    check_on_disk(source)
    in_shards = bool(recipe.source.shards)
    _check_sha256(source.files if in_shards else [source], recipe.source, progress)
    return planned, recipe


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
        notes = (*same_file_notes(matched), *recipe.notes)
        return RecipePath(matched.path, matched.files[1:], outside, notes, recipe.name)
    if any(patch.scales_weights for patch in recipe.patches):
        raise RefusedError(
            "the recipe multiplies weights, and a path over the source runs them as they are",
            hint="Write the file of the recipe, and run that.",
        )
    planned, _ = plan_of_recipe(source, recipe, others, progress)
    n_mtp = find_blocks(source).n_mtp
    return RecipePath(LayerPath(planned.path.steps[: len(planned.path) - n_mtp]))


def _matched(
    source: GgufFile, recipe: YamlRecipe, others: Mapping[str, GgufFile], progress: Progress
) -> MatchedRecipe:
    """The recipe over files that have the SHA-256 that it names, where it names any."""
    matched = match_models(recipe, source, others)
    for file, sha256 in zip(matched.files, matched.sha256s, strict=True):
        if sha256 is not None:
            check_on_disk(file)
        if sha256 is not None and (found := file_sha256(file, progress)) != sha256:
            raise RefusedError(
                f"{file.path} is not the file that the recipe {quoted(recipe.file)} names: its "
                f"SHA-256 is {found}, and the recipe has {sha256}",
                hint="Use the file that the recipe was made for; or, if this one is meant, its "
                "SHA-256 in the recipe.",
            )
    return matched


def _check_sha256(files: Sequence[GgufFile], expected: FileIdentity, progress: Progress) -> None:
    """Raise RefusedError unless a file, or each of its shards, has the SHA-256 of a recipe."""
    identities: Sequence[FileIdentity | ShardIdentity] = expected.shards or (expected,)
    for file, wanted in zip(files, identities, strict=True):
        if wanted.sha256 is not None and file_sha256(file, progress) != wanted.sha256:
            raise not_the_original(file, "its SHA-256 is another one", wanted)


def read_recipe(path: Path) -> Recipe | YamlRecipe:
    """The recipe in a file or a pipe; `-` is standard input.

    Raises UsageError when it cannot be read or is none, and RefusedError for a YAML recipe that
    cannot be followed exactly.
    """
    if model_name(path) is not None:
        raise UsageError(
            f"{shown_name(path)} is a name, and a recipe is read from a file on disk",
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
    return parse_recipe(data, name) if is_recipe_text(data) else read_yaml_recipe(data, name)


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input: it is closed")
    return sys.stdin.buffer.read(LONGEST + 1)
