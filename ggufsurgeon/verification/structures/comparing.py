"""Comparison of the tensors of a patched file with those of its source."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.ggml_types import F32
from ggufsurgeon.container.gguf_file import GgufFile, Place
from ggufsurgeon.container.headers.codec import MAX_DIMS
from ggufsurgeon.progress import Progress
from ggufsurgeon.rules.block_names import name_in_block
from ggufsurgeon.rules.blocks import find_blocks

CHUNK_N_BYTES = 4 << 20


@dataclass(frozen=True)
class Slices:
    """What a row holds in the source, and which of that it must hold in the patched file."""

    n_slices: int
    slice_n_bytes: int
    blocks: Sequence[int]


@dataclass(frozen=True)
class OpenFiles:
    """A patched file and its source."""

    patched: GgufFile
    patched_descriptors: Sequence[int]
    """One for each of its files."""
    source: GgufFile
    source_descriptors: Sequence[int]
    progress: Progress

    def _read(self, at: Place, done: int, n_bytes: int) -> bytes:
        """Bytes of the patched file, from `done` bytes behind a place on."""
        return os.pread(self.patched_descriptors[at.file], n_bytes, at.offset_in_file + done)

    def _read_source(self, at: Place, done: int, n_bytes: int) -> bytes:
        return os.pread(self.source_descriptors[at.file], n_bytes, at.offset_in_file + done)

    def same_bytes(self, at: Place, source_at: Place, n_bytes: int) -> bool:
        """Whether the files have the same bytes there."""
        for done in range(0, n_bytes, CHUNK_N_BYTES):
            n = min(CHUNK_N_BYTES, n_bytes - done)
            piece = self._read(at, done, n)
            if len(piece) != n or piece != self._read_source(source_at, done, n):
                return False
            self.progress.advance(n)
        return True

    def same_products(self, at: Place, source_at: Place, n_bytes: int, factor: float) -> bool:
        """Whether the numbers there, which are F32, are those of the source times `factor`."""
        import numpy as np

        dtype = f"{self.source.header.byte_order}f4"
        new = self._read(at, 0, n_bytes)
        old = np.frombuffer(self._read_source(source_at, 0, n_bytes), dtype)
        self.progress.advance(n_bytes)
        with np.errstate(all="ignore"):
            return new == (old.astype(np.float64) * factor).astype(dtype).tobytes()

    def has_values(self, index: int, value: float, n_elements: int) -> bool:
        """Whether tensor `index` of the patched file is so many numbers, F32, all of this value."""
        tensor, order = self.patched.header.tensors[index], self.patched.header.byte_order
        expected = struct.pack(f"{order}f", value) * n_elements
        is_alike = (tensor.type_id, tensor.dims) == (F32, (n_elements,))
        return is_alike and self._read(self.patched.place(index), 0, len(expected)) == expected

    def same_slices(self, at: Place, source_at: Place, n_rows: int, wanted: Slices) -> bool:
        """Whether each of `n_rows` rows holds the wanted slices of the row of the source."""
        import numpy as np

        blocks, width = list(wanted.blocks), wanted.slice_n_bytes
        n_new, n_old = len(blocks) * width, wanted.n_slices * width
        n_at_once = max(1, CHUNK_N_BYTES // max(n_new, n_old, 1))
        for row in range(0, n_rows, n_at_once):
            n = min(n_at_once, n_rows - row)
            new = self._read(at, row * n_new, n * n_new)
            old = self._read_source(source_at, row * n_old, n * n_old)
            if len(new) != n * n_new or len(old) != n * n_old:
                return False
            slices = np.frombuffer(old, np.uint8).reshape(n, wanted.n_slices, width)
            if slices[:, blocks].tobytes() != new:
                return False
            self.progress.advance(len(new))
        return True


class SameTensor:
    """Whether tensor `index` of the patched file is what the path makes of `origin`.

    `factors` are those of tensors of every block, by their name within it, and `of_tensors` those
    of single tensors of the patched file, by their whole name.
    """

    def __init__(
        self,
        files: OpenFiles,
        path: Sequence[int],
        factors: Mapping[str, float],
        of_tensors: Mapping[str, float],
    ) -> None:
        self._files = files
        self._factors = factors
        self._of_tensors = of_tensors
        blocks = find_blocks(files.source)
        self._n_slices = blocks.n_trunk
        self._trunk = path[: len(path) - blocks.n_mtp]
        is_identity = list(path) == list(range(len(blocks)))
        row = ARCHITECTURES.get(files.source.header.architecture or "")
        self._sliced_dims = {} if is_identity or row is None else row.sliced_dims

    def __call__(self, index: int, origin: int) -> bool:
        """Dimensions, type and data."""
        patched, source = self._files.patched, self._files.source
        new, old = patched.header.tensors[index], source.header.tensors[origin]
        at, source_at = patched.place(index), source.place(origin)
        n_bytes = source.layout.tensor_n_bytes[origin]
        dim = self._sliced_dims.get(old.name, MAX_DIMS)
        if new.type_id != old.type_id or new.dims != self._expected_dims(old.dims, dim):
            return False
        factor = self._factors.get(name_in_block(old.name) or "", self._of_tensors.get(new.name))
        if factor is not None:
            return self._files.same_products(at, source_at, n_bytes, factor)
        if dim >= len(old.dims):
            return self._files.same_bytes(at, source_at, n_bytes)
        return self._same_slices(at, source_at, n_bytes, math.prod(old.dims[dim + 1 :]))

    def _expected_dims(self, dims: tuple[int, ...], dim: int) -> tuple[int, ...]:
        if dim >= len(dims):
            return dims
        n_along = dims[dim] // self._n_slices * len(self._trunk)
        return (*dims[:dim], n_along, *dims[dim + 1 :])

    def _same_slices(self, at: Place, source_at: Place, n_bytes: int, n_rows: int) -> bool:
        slice_n_bytes = n_bytes // self._n_slices // max(n_rows, 1)
        if n_rows > 1:
            wanted = Slices(self._n_slices, slice_n_bytes, self._trunk)
            return self._files.same_slices(at, source_at, n_rows, wanted)
        starts = (
            (_behind(at, n * slice_n_bytes), _behind(source_at, block * slice_n_bytes))
            for n, block in enumerate(self._trunk)
        )
        return all(self._files.same_bytes(*start, slice_n_bytes) for start in starts)


def _behind(place: Place, n_bytes: int) -> Place:
    """The place so many bytes behind another."""
    return place._replace(offset_in_file=place.offset_in_file + n_bytes)
