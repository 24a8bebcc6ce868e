"""Methods of model files: recipes of patched files, and plans and paths of recipes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.model_files.located_file import LocatedFile
from ggufsurgeon.api.model_files.plans import Plan
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from ggufsurgeon.api.recipe_files.recipes import RecipePath
    from ggufsurgeon.planning.originals.original_path import OriginalPath
    from ggufsurgeon.planning.rebuilding.recipes import Recipe
    from ggufsurgeon.yaml_recipes.recipe import YamlRecipe


class RecipeMethods(LocatedFile):
    """The methods of a model file that make or follow recipes."""

    def recipe(self, progress: Progress = NO_PROGRESS) -> Recipe:
        """What rebuilds this patched file, to the byte, from its original.

        Both are hashed: this file, and its original, as `restore` would write it. Raises
        RefusedError when this file records no patch, or when it was changed since.
        """
        from ggufsurgeon.api.recipe_files.recipes import make_recipe

        return make_recipe(self._on_disk(), progress)

    def original_path(self) -> OriginalPath:
        """The layer path of this patched file over its original, across all recorded patches.

        Raises RefusedError when this file records no patch, or when it was changed since.
        """
        from ggufsurgeon.planning.originals.original_path import find_original_path

        return find_original_path(self.file)

    def plan_recipe(
        self,
        recipe: Recipe | YamlRecipe | PathLike,
        progress: Progress = NO_PROGRESS,
        *,
        others: Mapping[str, LocatedFile | PathLike] | None = None,
    ) -> Plan:
        """Plan the file of a recipe, after checking that this model is the one that it names.

        `recipe` is a recipe, or a file with one, which can be a pipe; `-` is standard input. The
        file contains the recipe of a patched file, as made by `recipe`, or YAML: mergekit's
        `merge_method: passthrough`, or ggufsurgeon's own format. `others` maps the names of models
        in a YAML recipe to their files; this file is that of the one model without an entry.

        A recipe for a single file also accepts the shards of that file. A recipe for shards
        requires these shards, and its plan writes the shards that it describes. Raises RefusedError
        when this or one of the others is another file, by its SHA-256 if the recipe has it, or when
        the recipe cannot be followed exactly, and UsageError when a file contains no recipe, or the
        others are not those that it names.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> original = gs.open("fixtures/stories260K.gguf")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     patched = original.plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
        ...     recipe = gs.open(patched).recipe()
        >>> str(original.plan_recipe(recipe).layer_path)
        '0..2,1..4'
        """
        from ggufsurgeon.api.recipe_files.recipes import plan_of_recipe

        return Plan(*plan_of_recipe(self.file, *_recipe_and_others(recipe, others), progress))

    def recipe_path(
        self,
        recipe: Recipe | YamlRecipe | PathLike,
        progress: Progress = NO_PROGRESS,
        *,
        others: Mapping[str, LocatedFile | PathLike] | None = None,
    ) -> RecipePath:
        """The layer path of a recipe over this model, to run it without a file.

        Raises as `plan_recipe`, and RefusedError for a recipe that multiplies weights.
        """
        from ggufsurgeon.api.recipe_files.recipes import path_of_recipe

        return path_of_recipe(self.file, *_recipe_and_others(recipe, others), progress)


def _recipe_and_others(
    recipe: Recipe | YamlRecipe | PathLike, others: Mapping[str, LocatedFile | PathLike] | None
) -> tuple[Recipe | YamlRecipe, dict[str, GgufFile]]:
    """A recipe that is read, and headers of the other models that it names."""
    from ggufsurgeon.api.recipe_files.recipes import read_recipe

    if isinstance(recipe, str | os.PathLike):
        recipe = read_recipe(Path(recipe))
    files = (others or {}).items()
    opened = ((name, f if isinstance(f, LocatedFile) else LocatedFile(f)) for name, f in files)
    return recipe, {name: model.file for name, model in opened}
