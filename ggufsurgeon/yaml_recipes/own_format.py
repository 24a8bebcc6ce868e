"""ggufsurgeon's own recipes in YAML: a layer path over named models in a line or a few.

name: Duet
sources:
  first: {sha256: 4f1e...}
  second: {}
layers: first:0..15, second:8..23, first:16..31*0.5
embeddings: first
output: second
tokenizer: first
mtp: none

A recipe that rebuilds one file to the byte has more keys: see `made_file.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import MAX_STEPS, BlockRef, LayerPath, parse_range
from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.made_file import MADE_FILE_KEYS, read_made_file, read_shards
from ggufsurgeon.yaml_recipes.recipe import UNNAMED, NamedModel, Slice, YamlRecipe, listed

KEYS = ("name", "sources", "layers", "embeddings", "output", "tokenizer", "mtp", *MADE_FILE_KEYS)
OF_SOURCE = ("sha256", "header_sha256", "n_bytes", "number", "shards")
NO_MTP = "none"
MOST_MODELS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


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
    without_mtp, mtp = _mtp(keys["mtp"], names) if "mtp" in keys else (False, None)
    used = {*parts, *(each.model for each in slices)}
    if mtp in used:
        raise keys["mtp"].error(
            f"{quoted(names[mtp])} gives other parts too, and its own MTP blocks stay"
        )
    for index, name in enumerate(names):
        if index not in used and index != mtp:
            raise keys["sources"].error(f"nothing comes from {quoted(name)}")
    made_file = read_made_file(root, keys)
    if made_file is None and any(model.number is not None or model.shards for model in models):
        raise keys["sources"].error("number and shards are for a recipe with result")
    return YamlRecipe(
        root.file,
        models,
        slices,
        OutsideBlocks(*parts),
        name=keys["name"].model_name() if "name" in keys else None,
        without_mtp=without_mtp,
        mtp=mtp,
        made_file=made_file,
    )


def _sources(field: Field) -> tuple[NamedModel, ...]:
    found = []
    for name, of_source in field.entries().items():
        if _NAME.fullmatch(name) is None:
            problem = f"{quoted(name)} is no name of a source"
            raise of_source.error(problem, hint="Expected letters, digits and any of . _ / -")
        found.append(_source(name, {} if of_source.is_null else of_source.table(OF_SOURCE)))
    if not found:
        raise field.error("expected names of models")
    return tuple(found)


def _source(name: str, keys: Mapping[str, Field]) -> NamedModel:
    number = keys["number"].integer() if "number" in keys else None
    if number is not None and number >= MOST_MODELS:
        raise keys["number"].error(f"expected a number below {MOST_MODELS}")
    return NamedModel(
        name,
        keys["sha256"].sha256() if "sha256" in keys else None,
        keys["header_sha256"].sha256() if "header_sha256" in keys else None,
        keys["n_bytes"].n_bytes() if "n_bytes" in keys else None,
        number,
        read_shards(keys["shards"]) if "shards" in keys else (),
    )


def _mtp(field: Field, names: Sequence[str]) -> tuple[bool, int | None]:
    """Whether MTP blocks are left out, and the model that they are taken from."""
    name = field.text()
    if name == NO_MTP and name not in names:
        return True, None
    if name not in names:
        hint = f"Expected {NO_MTP}, to leave the MTP blocks out, or the name of a source."
        raise _no_source(field, name, names, hint)
    return False, names.index(name)


def _slices(field: Field, names: Sequence[str]) -> tuple[Slice, ...]:
    """The runs of a layer path whose ranges have names of models in front."""
    parts = [field.text()] if field.is_text else [item.text() for item in field.items()]
    steps: list[BlockRef] = []
    for text in (text.strip() for part in parts for text in part.split(",")):
        numbered = _numbered(field, text, names)
        try:
            first, last = parse_range(numbered, quoted(text))
        except UsageError as error:
            raise field.error(str(error), hint=error.hint) from None
        blocks = range(first.block, last + 1)
        if len(steps) + len(blocks) > MAX_STEPS:
            raise field.error(f"more than {MAX_STEPS} blocks")
        steps += (first.at(first.source, block) for block in blocks)
    return tuple(
        Slice(
            field.place,
            first.source,
            first.block,
            last.block + 1,
            first.strength,
            first.factors,
        )
        for first, last in LayerPath(steps).runs()
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
        raise _no_source(field, name, names)
    return f"{names.index(name.strip())}:{blocks.strip()}"


def _model(keys: Mapping[str, Field], key: str, names: Sequence[str], default: int) -> int:
    """The index of the model that a part comes from."""
    if key not in keys:
        return default
    name = keys[key].text()
    if name not in names:
        raise _no_source(keys[key], name, names)
    return names.index(name)


def _no_source(field: Field, name: str, names: Sequence[str], hint: str = "") -> UsageError:
    if names == [UNNAMED]:
        return field.error(f"{quoted(name)} is no source: the recipe names none", hint=hint)
    return field.error(f"{quoted(name)} is none of the sources: {listed(names)}", hint=hint)
