"""The record of a file whose blocks are of several models.

    layer_path.tool, layer_path.blocks, layer_path.source_*   as of one model: that of model 0
    layer_path.other_sources          string  of each further model that is used: its index in the
                                              path, the size of its file and the SHA-256 of its
                                              header without padding: "1+411904+4f1e..."
    layer_path.outside                string  indices of the models that embeddings, output and
                                              tokenizer come from: "0,1,0"
    layer_path.licenses               string[] the licence of each model, model 0's first, if they
                                              differ; empty where a model names none
    layer_path.added_tensors          string[] as of one model

There is no more, since such a file cannot be restored: it holds neither of its sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.provenance import (
    ADDED_TENSORS,
    OTHER_SOURCES,
    PREFIX,
    names_pair,
    recorded_names,
    text_pair,
)
from ggufsurgeon.rules.mixtures.descriptions import differing_licenses

OUTSIDE = "outside"
LICENSES = "licenses"
_SOURCE = re.compile(r"(\d{1,5})\+(\d{1,18})\+([0-9a-f]{64})", re.ASCII)
_OUTSIDE = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5})", re.ASCII)


class OtherSource(NamedTuple):
    """What identifies a further model."""

    n_bytes: int
    header_sha256: str


class SeveralSources(NamedTuple):
    """What a file records of its models besides model 0."""

    others: Mapping[int, OtherSource]
    """By their indices in the path."""
    outside: OutsideBlocks
    licenses: tuple[str, ...] = ()
    """The licences of model 0 and of `others`, in order, where they differ."""


def record_of_several(
    files: Mapping[int, GgufFile],
    path: LayerPath,
    outside: OutsideBlocks,
    tool: str,
    added_tensors: Sequence[str],
) -> list[KeyValue]:
    """The pairs that record a patch of several models, by their indices in `path`."""
    first, order = files[0], files[0].header.byte_order
    size = encode_value(ValueType.UINT64, first.layout.n_bytes, order)
    others = ",".join(
        f"{n}+{file.layout.n_bytes}+{file.header_sha256}" for n, file in files.items() if n
    )
    sides = (outside.embeddings, outside.output, outside.tokenizer)
    licenses = differing_licenses(list(files.values()))
    return [
        text_pair("tool", tool, order),
        text_pair("blocks", str(path), order),
        text_pair("source_header_sha256", first.header_sha256, order),
        make_pair(f"{PREFIX}source_n_bytes", ValueType.UINT64, size, order),
        text_pair(OTHER_SOURCES, others, order),
        text_pair(OUTSIDE, ",".join(map(str, sides)), order),
        *(names_pair(LICENSES, licenses, order) for _ in licenses[:1]),
        *(names_pair(ADDED_TENSORS, added_tensors, order) for _ in added_tensors[:1]),
    ]


def read_several(header: Header) -> SeveralSources | None:
    """The models that a file records besides model 0; None for a file of one model.

    A record that this program does not write counts as none.
    """
    sources, sides = (header.get(PREFIX + key) for key in (OTHER_SOURCES, OUTSIDE))
    if not (isinstance(sources, str) and isinstance(sides, str)):
        return None
    matches = [_SOURCE.fullmatch(part) for part in sources.split(",")]
    of_sides = _OUTSIDE.fullmatch(sides)
    if of_sides is None:
        return None
    others = {int(m[1]): OtherSource(int(m[2]), m[3]) for m in matches if m is not None}
    licenses = recorded_names(header, LICENSES)
    return SeveralSources(others, OutsideBlocks(*map(int, of_sides.groups())), licenses)
