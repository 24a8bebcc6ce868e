"""What kind of companion a GGUF is, and what all kinds are compared with."""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from typing import TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.whole_models.file_kinds import other_kind

Dims: TypeAlias = "tuple[int, ...]"
DRAFTS = ("eagle3", "dflash", "gemma4-assistant")
"""Architectures of speculative drafts that read states of their target."""


class CompanionKind(Enum):
    """Kinds of companions that can follow a layer path."""

    LORA = "a LoRA adapter"
    IMATRIX = "an importance matrix (imatrix)"
    CONTROL_VECTOR = "a set of control vectors"
    DRAFT = "a speculative draft"


def companion_kind(header: Header) -> CompanionKind | None:
    """The kind of a companion; None for a file that is none, or that cannot follow a path.

    By `general.type` (gguf-py/gguf/constants.py:489-493) and `general.architecture`
    (tools/cvector-generator/cvector-generator.cpp, export_gguf; drafts have their own).
    """
    if header.architecture == "controlvector":
        return CompanionKind.CONTROL_VECTOR
    kind = header.get("general.type")
    if kind == "imatrix":
        return CompanionKind.IMATRIX
    is_adapter = kind == "adapter" or (kind is None and "adapter.type" in header.pair_of)
    if is_adapter:
        return CompanionKind.LORA
    return CompanionKind.DRAFT if header.architecture in DRAFTS else None


def find_kind(companion: GgufFile) -> CompanionKind:
    """The kind of a companion. Raises RefusedError for a file that is none."""
    kind = companion_kind(companion.header)
    if kind is None:
        other = other_kind(companion.header)
        what = other.what if other else "no companion of a model"
        raise RefusedError(
            f"{companion.path} is {what}: what follows a layer path is a LoRA adapter, an "
            "importance matrix (imatrix), a set of control vectors or a draft "
            f"({', '.join(DRAFTS)}), as a GGUF"
        )
    return kind


class BaseModel:
    """The model that a companion was made for. Raises as `find_blocks`."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        self.blocks = find_blocks(file)

    @property
    def architecture(self) -> str | None:
        """The value of `general.architecture`."""
        return self.file.header.architecture

    @cached_property
    def dims_of(self) -> dict[str, Dims]:
        """Dimensions of its tensors by name, in ggml's order and padded with 1 to four."""
        return {tensor.name: padded(tensor.dims) for tensor in self.file.header.tensors}


def padded(dims: Dims) -> Dims:
    """Four dimensions, as ggml has them."""
    return (*dims, 1, 1, 1, 1)[:4]
