"""Keys of a recipe that rebuilds one file to the byte, which `ggufsurgeon recipe` prints.

made: by ggufsurgeon 1.0.0
then:
- 0..5,3..7 by ggufsurgeon 1.0.0
result:
  n_bytes: 1716480
  header_sha256: 77ab...
  sha256: 0c8d...

`made` is the program that made the file, which the file names, and `then` has further patches; both
are as in the other recipes of patched files (`planning/rebuilding/recipe_text.py`). A result in
shards has `shards`, a list of sizes and SHA-256, in place of the SHA-256.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.recipe import MadeFile, ShardSize

MADE_FILE_KEYS = ("made", "then", "result")
OF_RESULT = ("n_bytes", "header_sha256", "sha256", "shards")
_SHARD = re.compile(r"([0-9]{1,18})(?: ([0-9a-f]{64}))?")


def read_made_file(root: Field, keys: Mapping[str, Field]) -> MadeFile | None:
    """The file that a recipe rebuilds; None where it has no `result`.

    Raises UsageError for a part of one.
    """
    if "result" not in keys:
        lonely = next((key for key in MADE_FILE_KEYS if key in keys), None)
        if lonely is not None:
            raise keys[lonely].error("expected result too, which says which file is rebuilt")
        return None
    for key in ("made", "sources"):
        if key not in keys:
            raise root.error(f"expected {key} beside result")
    result = keys["result"].table(OF_RESULT)
    for key in ("n_bytes", "header_sha256"):
        if key not in result:
            raise keys["result"].error(f"expected {key}")
    if ("sha256" in result) == ("shards" in result):
        raise keys["result"].error("expected one of sha256 and shards")
    shards = read_shards(result["shards"]) if "shards" in result else ()
    unknown = next((n for n, shard in enumerate(shards) if shard.sha256 is None), None)
    if unknown is not None:
        raise result["shards"].items()[unknown].error("expected the SHA-256 of the shard too")
    return MadeFile(
        keys["made"],
        tuple(keys["then"].items()) if "then" in keys else (),
        result["n_bytes"].n_bytes(),
        result["header_sha256"].sha256(),
        result["sha256"].sha256() if "sha256" in result else None,
        shards,
    )


def read_shards(field: Field) -> tuple[ShardSize, ...]:
    """Sizes of shards, each with its SHA-256 where that is known."""
    found = []
    for item in field.items():
        match = _SHARD.fullmatch(item.text())
        if match is None:
            raise item.error("expected the size of a shard in bytes, and its SHA-256")
        found.append(ShardSize(int(match[1]), match[2]))
    return tuple(found)
