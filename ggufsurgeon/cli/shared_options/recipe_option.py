"""The option --recipe, which gives a layer path and all that belongs to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional, TypeAlias, TypeVar

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.further_models import check_all_used, check_given
from ggufsurgeon.cli.output.terminal import print_note, watched
from ggufsurgeon.cli.shared_options.options import (
    LAYER_PATH,
    NamedFile,
    optional_layer_path,
    other_models,
)
from ggufsurgeon.cli.shared_options.standard_input import STANDARD_INPUT
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath

if TYPE_CHECKING:
    from ggufsurgeon.cli.shared_options.options import PathOptions
    from ggufsurgeon.layer_path.outside import OutsideBlocks

T = TypeVar("T")

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


def by_name(given: Sequence[NamedFile], files: Sequence[T]) -> dict[str, T]:
    """`files`, which are those that --with gives, by the names that a recipe has for them.

    Raises UsageError for one without a name.
    """
    for other in given:
        if not other.name:
            raise UsageError(
                f"--with {other.path}: with a recipe, a further file needs a name",
                hint=f"If the recipe names several models: --with NAME={other.path}, with the name "
                "that the recipe uses. A recipe of one model takes no --with.",
            )
    return {other.name: file for other, file in zip(given, files, strict=True)}


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
    """The name of a recipe: its own, or that of its file; empty without a recipe. A recipe from
    standard input without a name of its own is called `recipe`."""


def asked_path(
    model: Path,
    recipe: Path | None,
    options: PathOptions | None,
    with_: Sequence[str] | None,
    beside: Collection[AnyPath | None] | None = (),
) -> AskedPath:
    """The layer path of a recipe, or of the options, whichever is given.

    A command without options of a path has None. `beside` are other paths that it runs over the
    same models; None where they are named later. Raises UsageError where a recipe and options are
    given, and for models that no path uses or that are not given, and as `ModelFile.recipe_path`.
    """
    others = other_models(with_)
    files = [other.path for other in others]
    if recipe is None:
        path = optional_layer_path(*options) if options else None
        if beside is not None:
            check_all_used(files, [path, *beside])
        return AskedPath(path, files)
    check_alone(*options or ())
    with told_how_to_name(), watched() as progress:
        named = by_name(others, files)
        found = gs.open(model).recipe_path(recipe, progress, others=named)
    files = [file.path for file in found.others]
    check_given(beside or (), len(files))
    for note in found.notes:
        print_note(f"note: {note}")
    stem = "recipe" if recipe == STANDARD_INPUT else printable(recipe.stem)
    return AskedPath(found.layer_path, files, found.outside, found.name or stem)


def asked_path_beside_model(
    model: Path,
    recipe: Path | None,
    options: PathOptions | None,
    with_: Sequence[str] | None,
    beside: Collection[AnyPath | None] | None = (),
) -> AskedPath:
    """As `asked_path`, for commands that run the unmodified model, or other paths, besides.

    Raises RefusedError where a recipe replaces what is outside the blocks, since it would be
    replaced in these too.
    """
    asked = asked_path(model, recipe, options, with_, beside)
    if asked.outside is not None:
        raise RefusedError(
            f"the recipe takes embeddings, output or tokenizer from another model than {model}, "
            "and this command also runs that model unmodified",
            hint="Give the model of the tokenizer as MODEL, or write the file of the recipe and "
            "run it.",
        )
    return asked
