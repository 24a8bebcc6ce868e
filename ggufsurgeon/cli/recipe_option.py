"""The option --recipe, which gives a layer path and all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional, TypeAlias

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.options import LAYER_PATH, NamedFile, optional_layer_path, other_models
from ggufsurgeon.cli.terminal import print_note, watched
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath

if TYPE_CHECKING:
    from ggufsurgeon.cli.options import PathOptions
    from ggufsurgeon.layer_path.outside import OutsideBlocks

RecipeFile: TypeAlias = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="File with a recipe, or - for standard input: either the output of the command "
        "recipe, for which MODEL is the original, or YAML, in mergekit's passthrough format or in "
        "ggufsurgeon's own. --with NAME=FILE gives the files of further models that it names.",
        show_default=False,
        rich_help_panel=LAYER_PATH,
    ),
]


def check_alone(*options: object) -> None:
    """Raise UsageError where other options of the layer path are given beside a recipe."""
    if any(map(is_given, options)):
        raise UsageError(
            "--recipe gives the layer path: --window, --times, --strength, --damped, --drop, "
            "--layers and other options that change the path exclude it"
        )


def by_name(others: Sequence[NamedFile]) -> dict[str, Path]:
    """The files that --with gives by the names that a recipe has for them.

    Raises UsageError for one without a name.
    """
    for other in others:
        if not other.name:
            raise UsageError(
                f"--with {other.path}: beside a recipe, a further file needs a name",
                hint=f"If the recipe names several models: --with NAME={other.path}, with the name "
                "that it has there. A recipe of one model takes no --with.",
            )
    return {other.name: other.path for other in others}


@contextmanager
def told_how_to_name() -> Iterator[None]:
    """A hint at the option, where files are missing for models that a recipe names."""
    try:
        yield
    except UnmatchedModelsError as error:
        error.hint = "Give files for all but one of them: --with NAME=FILE. MODEL is that one."
        raise


def is_given(option: object) -> bool:
    """Whether the value of an option is not the one that it has without it."""
    return not (option is None or option is False or option == [])


class AskedPath(NamedTuple):
    """The layer path that options ask for, and what belongs to it."""

    path: AnyPath | None
    """None without any of the options."""
    others: Sequence[Path] = ()
    """The files of models 1, 2, ... of the path."""
    outside: OutsideBlocks | None = None
    """What is outside the blocks, where it is neither beside them nor MODEL's tokenizer."""
    name: str = ""
    """The name of a recipe: its own, or that of its file; empty without a recipe."""


def asked_path(
    model: Path, recipe: Path | None, options: PathOptions | None, with_: Sequence[str] | None
) -> AskedPath:
    """The layer path of a recipe, or of the options, whichever is given.

    A command without options of a path has None. Raises UsageError where both are, and as
    `ModelFile.recipe_path`.
    """
    others = other_models(with_)
    if recipe is None:
        path = optional_layer_path(*options) if options else None
        return AskedPath(path, [other.path for other in others])
    check_alone(*options or ())
    with told_how_to_name(), watched() as progress:
        found = gs.open(model).recipe_path(recipe, progress, others=by_name(others))
    for note in found.notes:
        print_note(f"note: {note}")
    files = [file.path for file in found.others]
    name = found.name or printable(recipe.stem)
    return AskedPath(found.layer_path, files, found.outside, name)


def asked_path_beside_model(
    model: Path, recipe: Path | None, options: PathOptions | None, with_: Sequence[str] | None
) -> AskedPath:
    """As `asked_path`, for commands that run the unmodified model, or other paths, besides.

    Raises RefusedError where a recipe replaces what is outside the blocks, since it would be
    replaced in these too.
    """
    asked = asked_path(model, recipe, options, with_)
    if asked.outside is not None:
        raise RefusedError(
            f"the recipe takes embeddings, output or tokenizer from another model than {model}, "
            "and this command also runs that model unmodified",
            hint="Give the model of the tokenizer as MODEL, or write the file of the recipe and "
            "run it.",
        )
    return asked
