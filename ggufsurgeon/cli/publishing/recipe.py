"""`ggufsurgeon recipe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeAlias

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_text, watched
from ggufsurgeon.cli.publishing.other_tools import print_for_tool
from ggufsurgeon.cli.shared_options.options import Json, Patched, Quiet
from ggufsurgeon.container.shards import Shard
from ggufsurgeon.layer_path.other_tools import OtherTool

if TYPE_CHECKING:
    from ggufsurgeon.layer_path.outside import OutsideBlocks
    from ggufsurgeon.planning.rebuilding.recipes import FileIdentity, FurtherModel, Patch, Recipe

As: TypeAlias = Annotated[
    Optional[OtherTool],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--as",
        help="Print the layer path in the notation of another tool, for the checkpoint that the "
        "original was converted from.",
        show_default=False,
    ),
]

FOR_PEOPLE = """\
# Rebuilds a patched GGUF, to the byte, from {what}:
#   ggufsurgeon patch {original} NEW.gguf --recipe THIS_FILE{further}
"""


def recipe(
    patched: Patched, other_tool: As = None, json: Json = False, quiet: Quiet = False
) -> None:
    """Print a recipe with which patch --recipe rebuilds a patched file from its original."""
    patched = on_disk(patched)
    if other_tool is not None:
        print_for_tool(other_tool, gs.open(patched).original_path(), as_json=json)
        return
    with watched() as progress:
        found = gs.open(patched).recipe(progress)
    if json:
        print_json(recipe_as_json(found))
    else:
        for line in recipe_lines(found):
            print_text(line)


def recipe_lines(recipe: Recipe) -> list[str]:
    """The lines of a recipe, after comments that say what to do with it."""
    from ggufsurgeon.planning.rebuilding.recipe_text import recipe_text
    from ggufsurgeon.publishing.rebuilding_yaml import recipe_yaml

    first, count = recipe.patches[0], len(recipe.source.shards)
    if first.outside is not None:
        name, what = "MODEL_0", "its models"
    elif recipe.further:
        name, what = "ORIGINAL", "its original and the file that its MTP blocks come from"
    else:
        name, what = "ORIGINAL", "its original"
    original = Shard(0, count).name(name) if count else f"{name}.gguf"
    further = "".join(f" --with {model.name}={_placeholder(model)}" for model in recipe.further)
    text = recipe_yaml(recipe) if first.is_trunk else recipe_text(recipe)
    for_people = FOR_PEOPLE.format(what=what, original=original, further=further)
    return (for_people + text).splitlines()


def _placeholder(model: FurtherModel) -> str:
    """What stands for the file of a further model."""
    return "MTP_DONOR.gguf" if model.number is None else f"MODEL_{model.number}.gguf"


def recipe_as_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON."""
    return {
        "patches": [_patch_as_json(patch) for patch in recipe.patches],
        "source": _identity_as_json(recipe.source),
        "further_models": [
            {
                "name": model.name,
                "number": model.number,
                "n_bytes": model.n_bytes,
                "header_sha256": model.header_sha256,
            }
            for model in recipe.further
        ],
        "result": _identity_as_json(recipe.result),
    }


def _patch_as_json(patch: Patch) -> dict[str, Any]:
    outside = patch.outside
    return {
        "layer_path": str(patch.layers),
        "tool": patch.tool,
        "scales_weights": patch.scales_weights,
        "name": patch.name,
        "n_tensors_of_shards": list(patch.n_tensors),
        "outside_blocks": None if outside is None else _outside_as_json(outside),
        "mtp": patch.mtp,
    }


def _outside_as_json(outside: OutsideBlocks) -> dict[str, int]:
    return {
        "embeddings": outside.embeddings,
        "output": outside.output,
        "tokenizer": outside.tokenizer,
    }


def _identity_as_json(identity: FileIdentity) -> dict[str, Any]:
    return {
        "n_bytes": identity.n_bytes,
        "header_sha256": identity.header_sha256,
        "sha256": identity.sha256,
        "shards": [{"n_bytes": shard.n_bytes, "sha256": shard.sha256} for shard in identity.shards],
    }
