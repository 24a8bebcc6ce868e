"""What a companion is, and for which model, by its header alone."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.companions.base_names import base_names
from ggufsurgeon.companions.control_vectors import block_of_vector
from ggufsurgeon.companions.drafts import ON_KV, TARGET_OF_ON_KV, states_read
from ggufsurgeon.companions.kinds import CompanionKind, companion_kind
from ggufsurgeon.companions.record import CompanionRecord, read_record
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.rules.block_names import block_of


class Description(NamedTuple):
    """A companion, and what it says of its model."""

    kind: CompanionKind
    architecture: str | None
    """Of its model; None where it says none, as an imatrix and most drafts do not."""
    base_models: tuple[str, ...]
    """Names of its model."""
    blocks: tuple[int, ...]
    """Blocks that it is about; of a draft, those behind which it reads the state."""
    record: CompanionRecord | None
    """The patched model that it was re-indexed for, if it was."""


def describe(header: Header) -> Description | None:
    """The description of a companion; None for any other file."""
    kind = companion_kind(header)
    if kind is None:
        return None
    architecture = _architecture_of_model(kind, header)
    return Description(
        kind,
        architecture if isinstance(architecture, str) else None,
        tuple(base_names(header)),
        tuple(_blocks(kind, header)),
        read_record(header),
    )


def _architecture_of_model(kind: CompanionKind, header: Header) -> object:
    if kind is CompanionKind.CONTROL_VECTOR:
        return header.get("controlvector.model_hint")
    if kind is CompanionKind.DRAFT:
        return TARGET_OF_ON_KV if header.architecture == ON_KV else None
    return header.architecture


def _blocks(kind: CompanionKind, header: Header) -> list[int]:
    """The blocks of the model that a companion is about."""
    if kind is CompanionKind.DRAFT:
        return states_read(header)
    number = block_of_vector if kind is CompanionKind.CONTROL_VECTOR else block_of
    blocks = {number(tensor.name) for tensor in header.tensors}
    return sorted(block for block in blocks if block is not None)
