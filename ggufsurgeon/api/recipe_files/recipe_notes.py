"""Notes that say which file stands for which model of a recipe."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.api.model_files.sources import is_same_file
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.yaml_recipes.matching import MatchedRecipe


def naming_notes(matched: MatchedRecipe) -> Iterator[str]:
    """The names of the models with their numbers in the layer path and their files.

    Nothing for a recipe of one model.
    """
    if len(matched.files) > 1:
        named = enumerate(zip(matched.names, matched.files, strict=True))
        shown = ", ".join(f"{n} is {quoted(name)}, {file.path}" for n, (name, file) in named)
        yield f"models of the recipe by their numbers in the layer path: {shown}"


def same_file_notes(matched: MatchedRecipe) -> Iterator[str]:
    """A note for each model that is the same file as an earlier one, as in a merge with itself."""
    for n, file in enumerate(matched.files):
        first = next(m for m, other in enumerate(matched.files) if is_same_file(other, file))
        if first != n:
            names = f"{quoted(matched.names[first])} and {quoted(matched.names[n])}"
            yield (
                f"{names} of the recipe are the same file, {file.path}, so its blocks are "
                "combined with each other, not with those of a second model"
            )
