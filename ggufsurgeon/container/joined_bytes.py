"""The bytes of a model as those of one file, also when it is in shards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ggufsurgeon.container.file_bytes import read_at
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.errors import UsageError


class JoinedBytes:
    """What a file holds, or what the file would hold that the shards make. Made by `opened_bytes`.

    What pads tensors is zeros where shards are joined.
    """

    def __init__(self, model: GgufFile, descriptors: Sequence[int]) -> None:
        self.n_bytes = model.layout.n_bytes
        self._model = model
        self._descriptors = descriptors
        self._header = serialize_header(model.header) if model.shards else b""
        data_start = model.layout.data_start
        self._starts = [data_start + tensor.offset_in_data for tensor in model.header.tensors]

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Up to `n_bytes` from `offset` on, fewer at the end alone. Raises UsageError."""
        if not self._model.shards:
            return self._read(0, offset, n_bytes)
        n_bytes = max(min(n_bytes, self.n_bytes - offset), 0)
        piece = bytearray(self._header[offset : offset + n_bytes].ljust(n_bytes, b"\0"))
        first = max(bisect_right(self._starts, offset) - 1, 0)
        for tensor in range(first, bisect_right(self._starts, offset + n_bytes)):
            self._put(tensor, piece, offset)
        return bytes(piece)

    def _put(self, tensor: int, piece: bytearray, offset: int) -> None:
        """The part of a tensor that lies in a piece which starts at `offset`."""
        start, place = self._starts[tensor], self._model.place(tensor)
        skipped = max(offset - start, 0)
        at = max(start - offset, 0)
        n_bytes = min(self._model.layout.tensor_n_bytes[tensor] - skipped, len(piece) - at)
        if n_bytes > 0:
            where = place.offset_in_file + skipped
            data = self._read(place.file, where, n_bytes)
            if len(data) < n_bytes:
                raise OSError(None, f"it ends at byte {where + len(data)}; it was longer")
            piece[at : at + len(data)] = data

    def _read(self, file: int, offset_in_file: int, n_bytes: int) -> bytes:
        path = self._model.files[file].path
        return read_at(self._descriptors[file], offset_in_file, n_bytes, path)


@contextmanager
def opened_bytes(model: GgufFile) -> Iterator[JoinedBytes]:
    """The bytes of a model. Raises UsageError when a file cannot be read."""
    try:
        with ExitStack() as stack:
            opened = (file.path.open("rb", buffering=0) for file in model.files)
            yield JoinedBytes(model, [stack.enter_context(file).fileno() for file in opened])
    except OSError as error:
        name = error.filename or model.path
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
