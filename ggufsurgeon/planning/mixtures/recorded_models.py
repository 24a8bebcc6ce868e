"""The models that a file of several models records, all together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.other_sources import OtherSource, read_several
from ggufsurgeon.planning.originals.source_pairs import damaged
from ggufsurgeon.planning.provenance import OTHER_SOURCES, read_provenance


class RecordedModels(NamedTuple):
    """The models of a patch over several, and what is of which."""

    layer_path: LayerPath
    """With MTP blocks behind it, which are those of the model of the output."""
    models: Mapping[int, OtherSource]
    """By their indices in the path, model 0 among them."""
    outside: OutsideBlocks
    licenses: tuple[str, ...] = ()
    """The licence of each model, where they differ."""


def read_models(header: Header) -> RecordedModels | None:
    """The models of the last patch of a file; None for one over a single model, or no record.

    Raises RefusedError where the record is not what this program writes.
    """
    record = read_provenance(header)
    if record is None or not record.is_of_several:
        return None
    several = read_several(header)
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
    return RecordedModels(path, models, outside, several.licenses)
