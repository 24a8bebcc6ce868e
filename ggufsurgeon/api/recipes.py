"""Recipes: what rebuilds a patched file from its original."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing.whole_file import file_sha256, unreadable
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.planning.recipe_text import LONGEST, parse_recipe
from ggufsurgeon.planning.recipes import (
    FileIdentity,
    Recipe,
    ShardIdentity,
    find_ingredients,
    not_the_original,
    plan_recipe,
)
from ggufsurgeon.progress import Progress
from ggufsurgeon.writing.digests import sha256_of_plan

STANDARD_INPUT = Path("-")


def make_recipe(patched: GgufFile, progress: Progress) -> Recipe:
    """The recipe of a patched file. Raises as `ModelFile.recipe`."""
    found = find_ingredients(patched)
    plans = found.original.file_plans if found.original else ()
    of_source = [sha256_of_plan(plan, "SHA-256 of original", progress) for plan in plans]
    of_result = [file_sha256(file, progress) for file in patched.files]
    shards = found.source_shards.shards if found.source_shards else ()
    source_sizes = [shard.n_bytes for shard in shards]
    result_sizes = [shard.layout.n_bytes for shard in patched.shards]
    return Recipe(
        found.patches,
        _identity(found.source_n_bytes, found.source_header_sha256, source_sizes, of_source),
        _identity(patched.layout.n_bytes, patched.header_sha256, result_sizes, of_result),
    )


def _identity(
    n_bytes: int, header_sha256: str, sizes: Sequence[int], digests: Sequence[str]
) -> FileIdentity:
    """Of a single file, or of shards with these sizes. Their digests, or none if not known."""
    if not sizes:
        return FileIdentity(n_bytes, header_sha256, digests[0] if digests else None)
    unknown: list[str | None] = [None] * len(sizes)
    shards = map(ShardIdentity, sizes, digests or unknown)
    return FileIdentity(n_bytes, header_sha256, None, tuple(shards))


def plan_of_recipe(
    source: GgufFile, recipe: Recipe | str | os.PathLike[str], progress: Progress
) -> tuple[PatchPlan, Recipe]:
    """The plan of a recipe over its original, and the recipe.

    Raises as `ModelFile.plan_recipe`.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    planned = plan_recipe(source, recipe)
    in_shards = bool(recipe.source.shards)
    _check_sha256(source.files if in_shards else [source], recipe.source, progress)
    return planned, recipe


def _check_sha256(files: Sequence[GgufFile], expected: FileIdentity, progress: Progress) -> None:
    """Raise RefusedError unless a file, or each of its shards, has the SHA-256 of a recipe."""
    identities: Sequence[FileIdentity | ShardIdentity] = expected.shards or (expected,)
    for file, wanted in zip(files, identities, strict=True):
        if wanted.sha256 is not None and file_sha256(file, progress) != wanted.sha256:
            raise not_the_original(file, "its SHA-256 is another one", wanted)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file or a pipe; `-` is standard input.

    Raises UsageError when it cannot be read or is none.
    """
    if path == STANDARD_INPUT:
        return parse_recipe(_standard_input(), "standard input")
    try:
        with path.open("rb") as file:
            return parse_recipe(file.read(LONGEST + 1), str(path))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: expected a file with a recipe") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: expected a file with a recipe") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("standard input: it is closed")
    return sys.stdin.buffer.read(LONGEST + 1)
