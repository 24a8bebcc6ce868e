"""The models that patch reads, by their headers until the result is known to be allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import ggufsurgeon as gs
from ggufsurgeon.cli.output.models import telling_what_is_kept
from ggufsurgeon.cli.shared_options.options import NamedFile
from ggufsurgeon.cli.shared_options.recipe_option import by_name, told_how_to_name
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from ggufsurgeon.planning.rebuilding.recipes import Recipe
    from ggufsurgeon.yaml_recipes.recipe import YamlRecipe


class PatchModels(NamedTuple):
    """The models of a patch. Those on the hub are known by their headers until `downloaded`."""

    model: gs.ModelFile
    others: tuple[gs.ModelFile, ...]
    given: Sequence[NamedFile]
    """What the command line has for `others`."""
    donor: gs.ModelFile | None
    """The file that MTP blocks are taken from."""

    @classmethod
    def opened(
        cls, source: Path, others: Sequence[NamedFile], mtp_from: Path | None
    ) -> PatchModels:
        """The models that arguments name. Raises as `gs.open`."""
        files = tuple(gs.open(other.path) for other in others)
        return cls(gs.open(source), files, others, None if mtp_from is None else gs.open(mtp_from))

    @property
    def are_on_disk(self) -> bool:
        """Whether none of them is known by its header alone."""
        donors = () if self.donor is None else (self.donor,)
        return not any(model.is_remote for model in (self.model, *self.others, *donors))

    def downloaded(
        self, destination: Path | None, replace: bool, progress: Progress
    ) -> PatchModels:
        """The same models on disk. Raises as `patch` where the result could not be written."""

        def fetch(model: gs.ModelFile) -> gs.ModelFile:
            return _downloaded(model, destination, replace, progress)

        donor = None if self.donor is None else fetch(self.donor)
        others = tuple(map(fetch, self.others))
        return self._replace(model=fetch(self.model), others=others, donor=donor)

    def plan(self, path: AnyPath, *, scale_weights: bool, without_mtp: bool) -> gs.Plan:
        """The plan of a layer path over them. Raises as `ModelFile.plan`."""
        return self.model.plan(
            path,
            others=self.others,
            scale_weights=scale_weights,
            without_mtp=without_mtp,
            mtp_from=self.donor,
        )

    def plan_recipe(self, recipe: Recipe | YamlRecipe, progress: Progress) -> gs.Plan:
        """The plan of a recipe over them. Raises as `ModelFile.plan_recipe`."""
        others = by_name(self.given, self.others)
        with told_how_to_name():
            return self.model.plan_recipe(recipe, progress, others=others)


def _downloaded(
    model: gs.ModelFile, destination: Path | None, replace: bool, progress: Progress
) -> gs.ModelFile:
    """The model on disk, downloaded only if the result can be written."""
    from ggufsurgeon.locating.locate import check_on_disk
    from ggufsurgeon.writing.placement.preflight import check_place

    if model.is_remote and destination is None:
        check_on_disk(model.file)
    if model.is_remote and destination is not None:
        check_place([], destination, replace=replace)
    with telling_what_is_kept(model.path):
        return model.download(progress)
