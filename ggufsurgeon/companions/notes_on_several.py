"""What a user should know of a companion for a model that has blocks of several files."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.companions.kinds import CompanionKind
from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.rules.blocks import find_blocks

MOST_NAMES = 4
WITHOUT_SUMS = (
    "llama-quantize quantizes weights without sums as if there were no imatrix, and refuses them "
    "in types that need one"
)
IMATRIX = (
    f"{WITHOUT_SUMS}: re-index the imatrix of each other model too, and join them with "
    "llama-imatrix, which needs no text for that"
)
"""tools/imatrix/imatrix.cpp:1120-1139 and src/llama-quant.cpp:1277-1303."""


def notes_on_several(kind: CompanionKind, companion: GgufFile, target: Target) -> list[str]:
    """Notes on parts from other models, for which the companion has nothing; none for one model.

    The note for an imatrix says how to fill its gaps.
    """
    return list(_notes(kind, companion, target)) if target.models is not None else []


def notes_on_donor(kind: CompanionKind, target: Target) -> list[str]:
    """A note on MTP blocks of another file, for which an imatrix has no sums."""
    if kind is not CompanionKind.IMATRIX or target.file is None or target.models is not None:
        return []
    if find_blocks(target.file).n_mtp <= target.n_mtp:
        return []
    return [f"it has no sums for MTP blocks, which come from another file: {WITHOUT_SUMS}"]


def _notes(kind: CompanionKind, companion: GgufFile, target: Target) -> Iterator[str]:
    architecture = (target.file.header.architecture if target.file else None) or ""
    n_others = target.blocks.count(None)
    follows = kind is not CompanionKind.DRAFT
    if n_others and follows:
        yield (
            f"it has nothing for the {n_others} of {len(target.path)} blocks that come from other "
            f"models than model {target.number} of the layer path"
        )
    names = [tensor.name for tensor in companion.header.tensors]
    lost = [quoted(name) for name in names if not target.has(name, architecture)]
    if lost and follows and kind is not CompanionKind.CONTROL_VECTOR:
        more = f" and {len(lost) - MOST_NAMES} more" if len(lost) > MOST_NAMES else ""
        yield (
            f"it leaves out {', '.join(lost[:MOST_NAMES])}{more}: the new model has these weights "
            "from another model"
        )
    if kind is CompanionKind.IMATRIX and (n_others or lost):
        yield IMATRIX
