"""The requests to plan and patch: a layer path or a recipe, as the options give it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import ggufsurgeon as gs
from ggufsurgeon.cli.output.further_models import check_all_used
from ggufsurgeon.cli.patching.patch_models import PatchModels
from ggufsurgeon.cli.patching.scan_choice import ScanChoice
from ggufsurgeon.cli.patching.verified import check_can_be_verified
from ggufsurgeon.cli.shared_options.options import NamedFile, PathOptions, layer_path
from ggufsurgeon.cli.shared_options.recipe_option import check_alone, is_given
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from ggufsurgeon.planning.rebuilding.recipes import Recipe
    from ggufsurgeon.yaml_recipes.recipe import YamlRecipe


class PathRequest(NamedTuple):
    """A layer path, and whether weights may be scaled and MTP blocks left out."""

    path: AnyPath
    scale_weights: bool
    without_mtp: bool

    def plan(self, models: PatchModels, _progress: Progress) -> gs.Plan:
        """The plan over these models. Raises as `ModelFile.plan`."""
        return models.plan(
            self.path, scale_weights=self.scale_weights, without_mtp=self.without_mtp
        )


class RecipeRequest(NamedTuple):
    """A recipe, which determines the new file in full."""

    recipe: Recipe | YamlRecipe

    def plan(self, models: PatchModels, progress: Progress) -> gs.Plan:
        """The plan over these models. Raises as `ModelFile.plan_recipe`."""
        return models.plan_recipe(self.recipe, progress)


def patch_request(
    source: Path,
    others: Sequence[NamedFile],
    options: PathOptions,
    recipe: Path | None,
    scan: ScanChoice | None = None,
    *,
    scale_weights: bool,
    without_mtp: bool,
    mtp_from: Path | None,
) -> PathRequest | RecipeRequest:
    """What the options ask for; `scan` is None for a command without the options of a scan.

    Raises UsageError where options exclude each other, and as `read_recipe` and
    `ScanChoice.path_over`.
    """
    further = ("--recipe",) if scan is None else ("--recipe", "--from-scan")
    scan = scan or ScanChoice()
    if recipe is not None:
        from ggufsurgeon.api.recipe_files.recipes import read_recipe

        check_alone(*options, *scan, scale_weights, without_mtp, mtp_from)
        return RecipeRequest(read_recipe(recipe))
    if scan.store is not None and any(map(is_given, options)):
        raise UsageError(
            "--from-scan gives the layer path: --window, --times, --strength, --damped, --drop and "
            "--layers exclude it"
        )
    path = scan.path_over(source) or layer_path(*options, further=further)
    check_all_used([other.path for other in others], [path])
    return PathRequest(path, scale_weights, without_mtp)


def check_result(
    request: PathRequest | RecipeRequest, max_n_bytes: int | None, *, verify: bool = False
) -> None:
    """Raise UsageError for options that the recipe of a patched file excludes.

    Such a recipe has the SHA-256 of its files. This is checked before anything is hashed.
    """
    from ggufsurgeon.planning.rebuilding.recipes import Recipe

    if isinstance(request, PathRequest) or not isinstance(request.recipe, Recipe):
        return
    if max_n_bytes is not None:
        raise UsageError(
            "--recipe and --split-max-size exclude each other: this recipe says which files it "
            "makes, by their SHA-256",
            hint="Omit --split-max-size; a recipe in YAML allows it.",
        )
    if verify:
        check_can_be_verified(request.recipe)
