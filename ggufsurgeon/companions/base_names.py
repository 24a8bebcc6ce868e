"""Which model a companion was made for, by the names in its metadata."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import OtherBaseError


def check_base_name(companion: GgufFile, model: GgufFile) -> None:
    """Raise OtherBaseError where both files say which model they are of, and nothing agrees."""
    asked, found = list(base_names(companion.header)), list(_own_names(model.header))
    if not asked or not found:
        return
    if any(_agree(one, other) for one in asked for other in found):
        return
    raise OtherBaseError(
        f"{companion.path} was made for {quoted(asked[0])} by its metadata, and {model.path} is "
        f"{quoted(found[0])}"
    )


def base_names(header: Header) -> Iterator[str]:
    """The base models that a file names (gguf-py/gguf/constants.py, Keys.General.BASE_MODEL_*)."""
    for pair in header.pairs:
        is_name = pair.key.startswith("general.base_model.") and pair.key.endswith(".name")
        if is_name and isinstance(pair.value, str) and pair.value:
            yield pair.value


def _own_names(header: Header) -> Iterator[str]:
    for key in ("general.name", "general.basename"):
        value = header.get(key)
        if isinstance(value, str) and value:
            yield value
    yield from base_names(header)


def _agree(one: str, other: str) -> bool:
    """Whether one name is within the other, letters and digits alone: quantizers add words."""
    first, second = ("".join(c for c in name.casefold() if c.isalnum()) for name in (one, other))
    return bool(first and second) and (first in second or second in first)
