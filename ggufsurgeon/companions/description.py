"""What a companion is, and for which model, by its header alone."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.companions.control_vectors import block_of_vector
from ggufsurgeon.companions.kinds import CompanionKind, companion_kind
from ggufsurgeon.companions.lora import base_names
from ggufsurgeon.companions.record import CompanionRecord, read_record
from ggufsurgeon.container.header import Header
from ggufsurgeon.rules.block_names import block_of


class Description(NamedTuple):
    """A companion, and what it says of its model."""

    kind: CompanionKind
    architecture: str | None
    """Of its model; None where it says none, as an imatrix never does."""
    base_models: tuple[str, ...]
    """Names of its model."""
    blocks: tuple[int, ...]
    """Blocks that it is about."""
    record: CompanionRecord | None
    """The patched model that it was re-indexed for, if it was."""


def describe(header: Header) -> Description | None:
    """The description of a companion; None for any other file."""
    kind = companion_kind(header)
    if kind is None:
        return None
    is_vectors = kind is CompanionKind.CONTROL_VECTOR
    architecture = header.get("controlvector.model_hint") if is_vectors else header.architecture
    number = block_of_vector if is_vectors else block_of
    blocks = {number(tensor.name) for tensor in header.tensors}
    return Description(
        kind,
        architecture if isinstance(architecture, str) else None,
        tuple(base_names(header)),
        tuple(sorted(block for block in blocks if block is not None)),
        read_record(header),
    )
