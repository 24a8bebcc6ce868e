"""`ggufsurgeon recipe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ggufsurgeon as gs
from ggufsurgeon.cli.options import Json, Patched, Quiet
from ggufsurgeon.cli.terminal import print_json, print_text, watched

if TYPE_CHECKING:
    from ggufsurgeon.planning.recipes import FileIdentity, Recipe

FOR_PEOPLE = """\
# Rebuilds a patched GGUF, to the byte, from its original:
#   ggufsurgeon patch ORIGINAL.gguf NEW.gguf --recipe THIS_FILE
"""


def recipe(patched: Patched, json: Json = False, quiet: Quiet = False) -> None:
    """Print the lines that rebuild a patched file from its original, for patch --recipe."""
    from ggufsurgeon.planning.recipe_text import recipe_text

    with watched() as progress:
        found = gs.open(patched).recipe(progress)
    if json:
        print_json(recipe_as_json(found))
    else:
        print_text(FOR_PEOPLE + recipe_text(found), end="")


def recipe_as_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON."""
    return {
        "patches": [
            {
                "layer_path": str(patch.layers),
                "tool": patch.tool,
                "scales_weights": patch.scales_weights,
            }
            for patch in recipe.patches
        ],
        "source": _identity_as_json(recipe.source),
        "result": _identity_as_json(recipe.result),
    }


def _identity_as_json(identity: FileIdentity) -> dict[str, Any]:
    return {
        "n_bytes": identity.n_bytes,
        "header_sha256": identity.header_sha256,
        "sha256": identity.sha256,
    }
