"""Recipes: what rebuilds a patched file from its original."""

from __future__ import annotations

import os
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing.whole_file import content_sha256, unreadable
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.planning.recipe_text import LONGEST, parse_recipe
from ggufsurgeon.planning.recipes import (
    FileIdentity,
    Recipe,
    find_ingredients,
    not_the_original,
    plan_recipe,
)
from ggufsurgeon.progress import Progress
from ggufsurgeon.writing.digests import sha256_of_plan


def make_recipe(patched: GgufFile, progress: Progress) -> Recipe:
    """The recipe of a patched file. Raises as `ModelFile.recipe`."""
    found = find_ingredients(patched)
    sha256 = None
    if found.original is not None:
        sha256 = sha256_of_plan(found.original.write_plan, "SHA-256 of original", progress)
    return Recipe(
        found.patches,
        FileIdentity(found.source_n_bytes, found.source_header_sha256, sha256),
        FileIdentity(
            patched.layout.n_bytes, patched.header_sha256, content_sha256(patched.path, progress)
        ),
    )


def plan_of_recipe(
    source: GgufFile, recipe: Recipe | str | os.PathLike[str], progress: Progress
) -> tuple[PatchPlan, str | None]:
    """The plan of a recipe over its original, and the SHA-256 of what it writes.

    Raises as `ModelFile.plan_recipe`.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    planned = plan_recipe(source, recipe)
    expected = recipe.source.sha256
    if expected is not None and content_sha256(source.path, progress) != expected:
        raise not_the_original(source, "its SHA-256 is another one", recipe.source)
    return planned, recipe.result.sha256


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file. Raises UsageError when it cannot be read or is none."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: expected a recipe, found no regular file")
        with path.open("rb") as file:
            return parse_recipe(file.read(LONGEST + 1), str(path))
    except OSError as error:
        raise unreadable(path, error) from None
