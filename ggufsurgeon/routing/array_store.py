"""Arrays kept between passes, in memory up to a limit and in a temporary file beyond it."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import WriteFailedError

K = TypeVar("K")

DEFAULT_LIMIT = 1 << 30
"""Bytes: all states of a 70B model for 400 tokens."""


class ArrayStore(Generic[K]):
    """float32 arrays by key, as states of the residual stream by the steps behind them."""

    def __init__(self, limit_n_bytes: int = DEFAULT_LIMIT) -> None:
        self._limit = limit_n_bytes
        self._n_bytes = 0
        self._kept: dict[K, npt.NDArray[np.float32]] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._spilled: dict[K, tuple[int, tuple[int, ...]]] = {}

    def __enter__(self) -> ArrayStore[K]:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, key: K) -> bool:
        return key in self._kept or key in self._spilled

    def put(self, key: K, array: npt.NDArray[np.float32]) -> None:
        """Keep an array, which nobody may change afterwards.

        Raises WriteFailedError when the folder for temporary files has no room.
        """
        if self._n_bytes + array.nbytes <= self._limit:
            self._n_bytes += array.nbytes
            self._kept[key] = array
            return
        try:
            offset = self._file.seek(0, 2)
            self._file.write(array.tobytes())
            self._file.flush()
        except OSError as error:
            raise WriteFailedError(
                f"states of blocks do not fit in {tempfile.gettempdir()}: {error.strerror}",
                hint="Set TMPDIR to a folder with more room, or use a smaller context or batch.",
            ) from None
        self._spilled[key] = (offset, array.shape)

    def get(self, key: K) -> npt.NDArray[np.float32]:
        """The array of a key that was put here."""
        if key in self._kept:
            return self._kept[key]
        offset, shape = self._spilled[key]
        self._file.seek(offset)
        values = np.fromfile(self._file, dtype=np.float32, count=int(np.prod(shape)))
        return values.reshape(shape)

    def clear(self) -> None:
        """Forget all arrays."""
        self._kept.clear()
        self._spilled.clear()
        self._n_bytes = 0
        self._file.truncate(0)
