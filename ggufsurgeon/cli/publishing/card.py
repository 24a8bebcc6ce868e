"""`ggufsurgeon card`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, print_text, watched
from ggufsurgeon.cli.publishing.recipe import recipe_lines
from ggufsurgeon.cli.shared_options.options import Json, Patched, Quiet
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.publishing.card import CardContent

_NO_BASE = "the file does not name a repository on the Hub for its original: give --base-model"
_NO_BASES = (
    "the file does not say which repositories on the Hub its models come from: give --base-model "
    "for each of them"
)


def card(
    patched: Patched,
    measured: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--measured",
            metavar="FILE",
            help="File with the JSON output of perplexity for PATCHED against its original. May "
            "be given several times, for several texts.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    base_model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--base-model",
            metavar="ORG/NAME",
            help="Name of the original on the Hugging Face Hub. May be given several times, for a "
            "file of several models.",
            show_default="the repository in the metadata",
        ),
    ] = None,
    modelfile: Annotated[
        bool, typer.Option("--modelfile", help="Print a Modelfile for Ollama instead.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a model card for a patched file: layer path, figures, recipe, and how to run it.

    The card is the README.md of a repository on the Hugging Face Hub.
    """
    patched = on_disk(patched)
    if modelfile:
        if measured or base_model:
            raise UsageError("a Modelfile takes neither --measured nor --base-model")
        _print_modelfile(patched, as_json=json)
        return
    from ggufsurgeon.api.model_files.cards import card_content
    from ggufsurgeon.publishing.card import model_card

    with watched() as progress:
        content = card_content(patched, measured or (), base_model or (), progress)
    text = model_card(content, recipe_lines(content.recipe))
    if json:
        print_json(_as_json(content, text))
        return
    _tell_what_is_missing(content, base_model or ())
    for line in text.splitlines():
        print_text(line)


def _print_modelfile(patched: Path, *, as_json: bool) -> None:
    from ggufsurgeon.api.model_files.cards import modelfile_of

    text = modelfile_of(patched)
    if as_json:
        print_json({"modelfile": text})
    else:
        print_text(text, end="")


def _as_json(content: CardContent, text: str) -> dict[str, Any]:
    from ggufsurgeon.publishing.ways_to_run import ways_to_run

    ways = ways_to_run(content.patched)
    return {
        "card": text,
        "metadata": content.metadata,
        "layer_path": str(content.layer_path),
        "ways_to_run": [
            {"program": way.program, "language": way.language, "lines": list(way.lines)}
            for way in ways
        ],
    }


def _tell_what_is_missing(content: CardContent, named: Sequence[str]) -> None:
    """Print notes on what the card lacks, and where it comes from.

    `named` are the repositories that the command line names.
    """
    patched = content.patched.path
    if not content.measurements:
        base = "MODEL_0.gguf" if content.is_of_several else "ORIGINAL.gguf"
        command = shell_command(
            *("ggufsurgeon", "perplexity", patched, "--base", base),
            *("-f", "TEXT", "--json"),
        )
        print_note(f"note: no figures; measure with {command} > measured.json, for --measured")
    n_models = len(content.models.models) if content.models else 1
    if named and n_models not in (len(named), len(set(named))):
        given = f"{len(set(named))} --base-model for a file of"
        models = "one model" if n_models == 1 else f"{n_models} models"
        print_note(f"note: {given} {models}: give one for each")
    elif "base_model" not in content.metadata:
        print_note(f"note: {_NO_BASES if n_models > 1 else _NO_BASE}")
