"""Keys of a re-indexed companion that say which model it is for.

    layer_path.tool                     string  the program and its version
    layer_path.blocks                   string  the layer path, in compact form
    layer_path.base_header_sha256       string  SHA-256 of the header of the model that the
                                                companion was made for
    layer_path.patched_header_sha256    string  of that of the model it is for now
    layer_path.companion_header_sha256  string  of that of the companion that was re-indexed
    layer_path.base_number              string  number of the model that the companion was made for
                                                in a layer path over several

The digests are of headers alone, without padding, as those of patched models.
"""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.planning.provenance import PREFIX, text_pair, this_tool

FOR_MODEL = f"{PREFIX}patched_header_sha256"


class CompanionRecord(NamedTuple):
    """What a re-indexed companion says of the model that it is for."""

    blocks: str
    patched_header_sha256: str
    number: str | None
    """The number of its model, for a layer path over several."""


def record_pairs(companion: GgufFile, base: GgufFile, target: Target) -> list[KeyValue]:
    """The pairs that record how a companion was re-indexed."""
    texts = {
        "tool": this_tool(),
        "blocks": str(target.path),
        "base_header_sha256": base.header_sha256,
        "patched_header_sha256": target.header_sha256,
        "companion_header_sha256": companion.header_sha256,
    }
    if target.models is not None:
        texts["base_number"] = str(target.number)
    return [text_pair(key, text, companion.header.byte_order) for key, text in texts.items()]


def read_record(header: Header) -> CompanionRecord | None:
    """The record of a re-indexed companion; None where there is none."""
    blocks, digest = header.get(f"{PREFIX}blocks"), header.get(FOR_MODEL)
    if not (isinstance(blocks, str) and isinstance(digest, str)):
        return None
    number = header.get(f"{PREFIX}base_number")
    return CompanionRecord(blocks, digest, number if isinstance(number, str) else None)


def check_record(companion: GgufFile, base: GgufFile) -> None:
    """Raise RefusedError for a companion that was re-indexed for another model than `base`."""
    record = read_record(companion.header)
    if record is not None and record.patched_header_sha256 != base.header_sha256:
        raise RefusedError(
            f"{companion.path} was re-indexed for another model than {base.path}, along its layer "
            "path",
            hint="Give the model that it is for, or the companion of the original.",
        )
