"""The option --recipe, which gives a layer path and all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional, TypeAlias

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.options import LAYER_PATH, NamedFile, optional_layer_path
from ggufsurgeon.cli.terminal import print_note, watched
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import UnmatchedModelsError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath

if TYPE_CHECKING:
    from ggufsurgeon.cli.options import PathOptions

RecipeFile: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="File with a recipe, or - for standard input: what the command recipe prints, whose "
        "original MODEL must then be, or YAML, mergekit's passthrough or ggufsurgeon's own.",
        show_default=False,
        rich_help_panel=LAYER_PATH,
    ),
]


def check_alone(*options: object) -> None:
    """Raise UsageError where other options of the layer path are given beside a recipe."""
    if any(map(is_given, options)):
        raise UsageError(
            "--recipe gives the layer path: --window, --times, --strength, --damped, --drop, "
            "--layers and all else that changes the path exclude it"
        )


def by_name(others: Sequence[NamedFile]) -> dict[str, Path]:
    """The files that --with gives by the names that a recipe has for them.

    Raises UsageError for one without a name.
    """
    for other in others:
        if not other.name:
            raise UsageError(
                f"--with {other.path}: a recipe names its models",
                hint=f"--with NAME={other.path}, with the name that the recipe has for it.",
            )
    return {other.name: other.path for other in others}


@contextmanager
def told_how_to_name() -> Iterator[None]:
    """A hint at the option, where files are missing for models that a recipe names."""
    try:
        yield
    except UnmatchedModelsError as error:
        error.hint = "Give files for all but one of them, which MODEL stands for: --with NAME=FILE."
        raise


def is_given(option: object) -> bool:
    """Whether the value of an option is not the one that it has without it."""
    return not (option is None or option is False or option == [])


class AskedPath(NamedTuple):
    """The layer path that options ask for; None without any of them."""

    path: AnyPath | None
    name: str = ""
    """The name of a recipe: its own, or that of its file; empty without a recipe."""


def asked_path(model: Path, recipe: Path | None, options: PathOptions | None) -> AskedPath:
    """The layer path of a recipe, or of the options, whichever is given.

    A command without options of a path has None. Raises UsageError where both are, and as
    `ModelFile.recipe_path`.
    """
    if recipe is None:
        return AskedPath(optional_layer_path(*options) if options else None)
    check_alone(*options or ())
    with told_how_to_name(), watched() as progress:
        found = gs.open(model).recipe_path(recipe, progress)
    for note in found.notes:
        print_note(f"note: {note}")
    return AskedPath(found.layer_path, found.name or printable(recipe.stem))
