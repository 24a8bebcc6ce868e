"""States kept between passes: in memory up to a limit, beyond it in a temporary file."""

from __future__ import annotations

import tempfile
from types import TracebackType

import numpy as np

from ggufsurgeon.engine.taps import Activation
from ggufsurgeon.routing.passes import Steps

DEFAULT_LIMIT = 1 << 30
"""Bytes: all states of a 70B model for 400 tokens."""


class StateStore:
    """States by the steps after which they are, float32, shape [n_tokens, ...]."""

    def __init__(self, limit_n_bytes: int = DEFAULT_LIMIT) -> None:
        self._limit = limit_n_bytes
        self._n_bytes = 0
        self._kept: dict[Steps, Activation] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._spilled: dict[Steps, tuple[int, tuple[int, ...]]] = {}

    def __enter__(self) -> StateStore:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __contains__(self, steps: Steps) -> bool:
        return steps in self._kept or steps in self._spilled

    def put(self, steps: Steps, state: Activation) -> None:
        """Keep a state."""
        if self._n_bytes + state.nbytes <= self._limit:
            self._n_bytes += state.nbytes
            self._kept[steps] = state
            return
        offset = self._file.seek(0, 2)
        self._file.write(state.tobytes())
        self._spilled[steps] = (offset, state.shape)

    def get(self, steps: Steps) -> Activation:
        """A state that was put here."""
        if steps in self._kept:
            return self._kept[steps]
        offset, shape = self._spilled[steps]
        self._file.seek(offset)
        values = np.fromfile(self._file, dtype=np.float32, count=int(np.prod(shape)))
        return values.reshape(shape)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self._spilled.clear()
        self._n_bytes = 0
        self._file.truncate(0)
