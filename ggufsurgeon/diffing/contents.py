"""The contents of a model: its header, and a hash of the data of each tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.rules.block_names import block_of, renumber


class TensorContent(NamedTuple):
    """What a tensor is, apart from its name and its place."""

    type_id: int
    dims: tuple[int, ...]
    sha256: str


def no_product(name: str, factor: float) -> str:
    """The hash of no data, for contents whose data cannot be read again."""
    return ""


@dataclass(frozen=True)
class Contents:
    """A model file with the SHA-256 of each tensor, in the order of the tensor infos."""

    file: GgufFile
    hashes: tuple[str, ...]
    first_scales: Mapping[str, float] = field(default_factory=dict)
    """The first number of each scale that may be of a strength or a factor, by its name."""
    sha256_of_product: Callable[[str, float], str] = no_product
    """The SHA-256 of an F32 tensor, by its name, whose numbers are multiplied by a factor."""

    @cached_property
    def outside_blocks(self) -> Mapping[str, TensorContent]:
        """Tensors that belong to no block, by name."""
        return {name: content for name, content in self._all.items() if block_of(name) is None}

    @cached_property
    def blocks(self) -> Mapping[int, Mapping[str, TensorContent]]:
        """For each block its tensors, by the names that they would have in block 0."""
        found: dict[int, dict[str, TensorContent]] = {}
        for name, content in self._all.items():
            block = block_of(name)
            if block is not None:
                found.setdefault(block, {})[renumber(name, 0)] = content
        return dict(sorted(found.items()))

    @cached_property
    def _all(self) -> Mapping[str, TensorContent]:
        tensors = zip(self.file.header.tensors, self.hashes, strict=True)
        return {
            info.name: TensorContent(info.type_id, info.dims, digest) for info, digest in tensors
        }
