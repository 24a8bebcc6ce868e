"""The models that a file of several models records, all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.other_sources import OtherSource, read_several
from ggufsurgeon.planning.provenance import OTHER_SOURCES, read_provenance
from ggufsurgeon.planning.source_pairs import damaged
from ggufsurgeon.rules.blocks import find_blocks


class RecordedModels(NamedTuple):
    """The models of a patch over several, and what is of which."""

    layer_path: LayerPath
    """Without MTP blocks."""
    models: Mapping[int, OtherSource]
    """By their indices in the path, model 0 among them."""
    outside: OutsideBlocks
    licenses: tuple[str, ...] = ()
    """Of each of the models, where they differ."""


def find_recorded_models(patched: GgufFile) -> RecordedModels | None:
    """The record of the last patch of a file; None for one over a single model, or no record.

    Raises RefusedError where the record is not what this program writes.
    """
    record = read_provenance(patched.header)
    if record is None or not record.is_of_several:
        return None
    several = read_several(patched.header)
    if several is None:
        raise damaged(OTHER_SOURCES)
    try:
        path = LayerPath(record.blocks)
    except UsageError:
        raise damaged("blocks") from None
    first = OtherSource(record.source_n_bytes, record.source_header_sha256)
    models, outside = {0: first, **several.others}, several.outside
    used = {step.source for step in path.steps}
    used |= {outside.embeddings, outside.output, outside.tokenizer}
    if not used <= models.keys():
        raise damaged(OTHER_SOURCES)
    trunk = path.steps[: find_blocks(patched).n_trunk]
    return RecordedModels(LayerPath(trunk), models, outside, several.licenses)
