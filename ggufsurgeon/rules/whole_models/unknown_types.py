"""Tensors of types that ggml does not have: those of other programs, or of a later version.

llama.cpp reads no such file (`gguf_init_from_reader`, ggml/src/gguf.cpp). The bytes of such a
tensor reach up to the next one, whatever they mean, and can be copied exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.ggml_types import type_size
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted

MOST_LISTED = 4
"""Types that a note lists."""


def unknown_type_notes(header: Header) -> Iterator[str]:
    """A note of the types of tensors that are not known, if there are any."""
    unknown = {tensor.type_id for tensor in header.tensors if type_size(tensor.type_id) is None}
    if not unknown:
        return
    found = [tensor.name for tensor in header.tensors if tensor.type_id in unknown]
    types = sorted(unknown)
    numbers = ", ".join(map(str, types[:MOST_LISTED])) + ", ..." * (len(types) > MOST_LISTED)
    others = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    yield (
        f"the source has tensors of unknown type {numbers} ({quoted(found[0])}{others}): their "
        "bytes are copied as they are; llama.cpp of 2026-10-01 loads neither it nor the new file"
    )
