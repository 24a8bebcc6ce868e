"""The text of a recipe: a few lines `key: value`, lines of `#` for people, nothing else.

    recipe: 1
    patch: 0..16,10..29 by ggufsurgeon 1.0.0
    source-n-bytes: 98570784
    source-header-sha256: 4f1e...
    source-sha256: 9a0b...
    result-n-bytes: 120321344
    result-header-sha256: 77ab...
    result-sha256: 0c8d...

`patch` comes once for each patch, in their order; `source-sha256` is left out where it is not
known. A block may have a strength, `10..16*0.5`, and weights of it factors. A patch that
multiplied weights ends in
`, weights scaled`, and one that named the model in `, named NAME`. For a model in shards, a line
for each shard, with its size and SHA-256, replaces that of the SHA-256, and the patch that wrote
the shards lists how many tensors each has:

    patch: 0..16,10..29 by ggufsurgeon 1.0.0, in shards of 120,213 tensors
    source-shard: 49912345 5d41...
    result-shard: 60160672 1b64...

The values of each key match one pattern that allows no strings of a model, so that a recipe cannot
bring hostile text to a terminal.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.factors import FACTOR_NAMES
from ggufsurgeon.layer_path.model_names import MODEL_NAME
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.originals.restoring import MOST_PATCHES
from ggufsurgeon.planning.rebuilding.recipes import TOOL, FileIdentity, Patch, Recipe, ShardIdentity

VERSION = "1"
LONGEST = 1 << 20
"""Bytes: no recipe is longer, and what is may be a model."""
SCALED = ", weights scaled"
FORMS = {
    "recipe": re.compile(r"[0-9]{1,9}"),
    "patch": re.compile(
        rf"(?P<layers>(?:[0-9.,*e+-]|(?:{'|'.join(FACTOR_NAMES)})=)+) by "
        rf"(?P<tool>{TOOL.pattern})(?P<scaled>{SCALED})?"
        rf"(?:, named (?P<name>{MODEL_NAME.pattern}))?"
        r"(?:, in shards of (?P<n_tensors>[0-9]{1,9}(?:,[0-9]{1,9})+) tensors)?",
        re.ASCII,
    ),
    "source-n-bytes": re.compile(r"[0-9]{1,18}"),
    "source-header-sha256": re.compile(r"[0-9a-f]{64}"),
    "source-sha256": re.compile(r"[0-9a-f]{64}"),
    "source-shard": re.compile(r"[0-9]{1,18}(?: [0-9a-f]{64})?"),
    "result-n-bytes": re.compile(r"[0-9]{1,18}"),
    "result-header-sha256": re.compile(r"[0-9a-f]{64}"),
    "result-sha256": re.compile(r"[0-9a-f]{64}"),
    "result-shard": re.compile(r"[0-9]{1,18} [0-9a-f]{64}"),
}
"""The keys, in the order in which they are written, and the form of their values."""
REPEATED = ("patch", "source-shard", "result-shard")
OPTIONAL = ("source-sha256", "source-shard", "result-sha256", "result-shard")


def recipe_text(recipe: Recipe) -> str:
    """The lines of a recipe."""
    patches = (f"patch: {patch_text(patch)}" for patch in recipe.patches)
    source, result = _lines("source", recipe.source), _lines("result", recipe.result)
    return "\n".join((f"recipe: {VERSION}", *patches, *source, *result, ""))


def patch_text(patch: Patch) -> str:
    """The value of the key `patch`: what a patch over one model was."""
    shards = f", in shards of {','.join(map(str, patch.n_tensors))} tensors"
    named = "" if patch.name is None else f", named {patch.name}"
    text = f"{patch.layers} by {patch.tool}{SCALED * patch.scales_weights}{named}"
    return f"{text}{shards}" if patch.n_tensors else text


def _lines(which: str, identity: FileIdentity) -> Iterator[str]:
    yield f"{which}-n-bytes: {identity.n_bytes}"
    yield f"{which}-header-sha256: {identity.header_sha256}"
    if identity.sha256 is not None:
        yield f"{which}-sha256: {identity.sha256}"
    for shard in identity.shards:
        yield f"{which}-shard: {shard.n_bytes} {shard.sha256 or ''}".rstrip()


def is_recipe_text(data: bytes) -> bool:
    """Whether the first line that is neither empty nor for people is one of a recipe.

    That is its version; recipes in YAML have no such key.
    """
    head = data[:LONGEST].removeprefix(codecs.BOM_UTF8)
    lines = (line.strip(b" \t\r") for line in head.split(b"\n"))
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    return re.match(rb"recipe[ \t]*:", first) is not None


def parse_recipe(data: bytes, name: str) -> Recipe:
    """The recipe in a text; `name` is for messages.

    Raises UsageError, with the number of the line, for anything that is not one.
    """
    values: dict[str, list[str]] = {}
    patches: list[Patch] = []
    for number, line in _meaningful(data, name):
        where = f"{name}, line {number}"
        key, value = _key_and_value(line, where)
        if key == "patch":
            if len(patches) == MOST_PATCHES:
                raise UsageError(f"{where}: a recipe has no more than {MOST_PATCHES} patches")
            patches.append(parse_patch(value, where))
        elif key in values and key not in REPEATED:
            raise UsageError(f"{where}: {key} was given before")
        values.setdefault(key, []).append(value)
        if key == "recipe" and value != VERSION:
            raise UsageError(
                f"{where}: recipe of version {value}, expected {VERSION}",
                hint="A newer version of ggufsurgeon may read it.",
            )
        if "recipe" not in values:
            raise UsageError(f"{where}: expected recipe: {VERSION} before all else")
    _check_complete(values, patches, name)
    return Recipe(tuple(patches), _identity(values, "source"), _identity(values, "result"))


def _check_complete(values: dict[str, list[str]], patches: Sequence[Patch], name: str) -> None:
    missing = [key for key in FORMS if key not in values and key not in OPTIONAL]
    if "result-sha256" not in values and "result-shard" not in values:
        missing.append("result-sha256")
    if missing:
        raise UsageError(f"{name}: this recipe lacks {', '.join(missing)}")
    n_named, n_cut = len(values.get("result-shard", [])), len(patches[-1].n_tensors)
    if n_named != n_cut:
        raise UsageError(
            f"{name}: {n_named} lines result-shard, and the last patch wrote {n_cut} shards"
        )


def _meaningful(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Lines that are neither empty nor for people, with their numbers from 1."""
    if len(data) > LONGEST:
        raise UsageError(f"{name}: a file of more than {LONGEST:,} bytes is no recipe")
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        line = raw.strip(b" \t\r")
        if line and not line.startswith(b"#"):
            yield number, line.decode("utf-8", "backslashreplace")


def _key_and_value(line: str, where: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    key, value = key.strip(" \t"), value.strip(" \t")
    if not colon or key not in FORMS:
        raise UsageError(
            f"{where}: {_short(line)} is no line of a recipe",
            hint=f"Expected a key and a value: {', '.join(FORMS)}.",
        )
    if FORMS[key].fullmatch(value) is None:
        raise UsageError(f"{where}: {_short(value)} is no value of {key}")
    return key, value


def parse_patch(value: str, where: str) -> Patch:
    """The patch in a value of the key `patch`. Raises UsageError for another text."""
    match = FORMS["patch"].fullmatch(value)
    if match is None:
        raise UsageError(f"{where}: {_short(value)} is no value of patch")
    try:
        layers = LayerPath(match["layers"])
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    n_tensors = match["n_tensors"].split(",") if match["n_tensors"] else ()
    return Patch(
        layers,
        match["tool"],
        match["scaled"] is not None,
        match["name"],
        tuple(int(n) for n in n_tensors),
    )


def _identity(values: dict[str, list[str]], which: str) -> FileIdentity:
    (n_bytes,), (header_sha256,) = values[f"{which}-n-bytes"], values[f"{which}-header-sha256"]
    (sha256,) = values.get(f"{which}-sha256", [None])
    shards = (text.split(" ") for text in values.get(f"{which}-shard", []))
    return FileIdentity(
        int(n_bytes),
        header_sha256,
        sha256,
        tuple(ShardIdentity(int(size), digest[0] if digest else None) for size, *digest in shards),
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
