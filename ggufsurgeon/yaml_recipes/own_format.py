"""ggufsurgeon's own recipes in YAML: a layer path over named models in a line or a few.

name: Duet
sources:
  first: {sha256: 4f1e...}
  second: {}
layers: first:0..15, second:8..23, first:16..31*0.5
embeddings: first
output: second
tokenizer: first
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.recipe import UNNAMED, NamedModel, Slice, YamlRecipe, listed

KEYS = ("name", "sources", "layers", "embeddings", "output", "tokenizer")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def read_own(root: Field) -> YamlRecipe:
    """The recipe in a document with `layers`.

    What comes from no model that is named comes from that of the first block for the embeddings
    and the tokenizer, and from that of the last one for output norm and output head. Raises
    UsageError for what is no such recipe.
    """
    keys = root.table(KEYS)
    models = _sources(keys["sources"]) if "sources" in keys else (NamedModel(UNNAMED),)
    names = [model.name for model in models]
    slices = _slices(keys["layers"], names)
    first, last = slices[0].model, slices[-1].model
    defaults = {"embeddings": first, "output": last, "tokenizer": first}
    parts = [_model(keys, part, names, default) for part, default in defaults.items()]
    used = {*parts, *(each.model for each in slices)}
    for index, name in enumerate(names):
        if index not in used:
            raise keys["sources"].error(f"nothing comes from {quoted(name)}")
    return YamlRecipe(
        root.file,
        models,
        slices,
        OutsideBlocks(*parts),
        name=keys["name"].model_name() if "name" in keys else None,
    )


def _sources(field: Field) -> tuple[NamedModel, ...]:
    found = []
    for name, of_source in field.entries().items():
        if _NAME.fullmatch(name) is None:
            problem = f"{quoted(name)} is no name of a source"
            raise of_source.error(problem, hint="Expected letters, digits and any of . _ / -")
        sha256 = None if of_source.is_null else of_source.table(("sha256",)).get("sha256")
        if sha256 is not None and _SHA256.fullmatch(sha256.text()) is None:
            raise sha256.error("expected the 64 hexadecimal digits of a SHA-256")
        found.append(NamedModel(name, sha256.text().lower() if sha256 else None))
    if not found:
        raise field.error("expected names of models")
    return tuple(found)


def _slices(field: Field, names: Sequence[str]) -> tuple[Slice, ...]:
    """The runs of a layer path whose ranges have names of models in front."""
    parts = [field.text()] if field.is_text else [item.text() for item in field.items()]
    texts = [text for part in parts for text in part.split(",")]
    numbered = ",".join(_numbered(field, text.strip(), names) for text in texts)
    try:
        path = LayerPath(numbered)
    except UsageError as error:
        raise field.error(str(error), hint=error.hint) from None
    return tuple(
        Slice(field.place, first.source, first.block, last.block + 1, first.strength)
        for first, last in path.runs()
    )


def _numbered(field: Field, text: str, names: Sequence[str]) -> str:
    """A range with the index of its model in place of the name."""
    name, colon, blocks = text.rpartition(":")
    if not colon:
        if len(names) > 1:
            problem = f"{quoted(text)} does not say of which model"
            raise field.error(problem, hint=f"Such as {names[0]}:0..3.")
        return text
    if names == [UNNAMED]:
        raise field.error(
            f"{quoted(text)} has a name before its colon, and the recipe names no sources",
            hint="Ranges of blocks are written 3..4, both ends included; names of models are given "
            "in sources.",
        )
    if name.strip() not in names:
        raise field.error(f"{quoted(name)} is none of the sources: {listed(names)}")
    return f"{names.index(name.strip())}:{blocks.strip()}"


def _model(keys: Mapping[str, Field], key: str, names: Sequence[str], default: int) -> int:
    """The index of the model that a part comes from."""
    if key not in keys:
        return default
    name = keys[key].text()
    if name not in names:
        raise keys[key].error(f"{quoted(name)} is none of the sources: {listed(names)}")
    return names.index(name)
