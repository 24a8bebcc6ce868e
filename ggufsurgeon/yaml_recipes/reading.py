"""The bytes of a YAML recipe to its value, whichever format it has."""

from __future__ import annotations

from ggufsurgeon.yaml_recipes import mergekit, own_format
from ggufsurgeon.yaml_recipes.fields import root_field
from ggufsurgeon.yaml_recipes.recipe import YamlRecipe
from ggufsurgeon.yaml_recipes.tree import read_document

KNOWN_KEYS = frozenset((*mergekit.KEYS, *mergekit.REFUSED_KEYS, *own_format.KEYS))


def read_yaml_recipe(data: bytes, name: str) -> YamlRecipe:
    """The recipe in the bytes of a file; `name` begins the messages of errors.

    A document with `merge_method` is one of mergekit, one with `layers` one of ours. Raises
    UsageError for what is neither, and RefusedError for what cannot be done exactly.
    """
    root = root_field(read_document(data, name), name, KNOWN_KEYS)
    keys = root.entries()
    if "merge_method" in keys:
        return mergekit.read_mergekit(root)
    if "layers" in keys:
        return own_format.read_own(root)
    raise root.error(
        "this is no recipe: there is neither layers nor merge_method",
        hint="layers is for a recipe of ggufsurgeon's own, merge_method: passthrough for one of "
        "mergekit.",
    )
