"""Nodes of the graph, read and overwritten while llama.cpp computes it.

llama.cpp calls back before each node (is it wanted?) and after each that was (`cb_eval`,
include/llama.h:392; ggml/src/ggml-backend.cpp:1822-1851). Nodes are called `<what>-<block>`
(src/llama-context.cpp:2636). A decode must be one micro-batch, or a node comes several times.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.llama.library import ggml, llama_cpp

Activation: TypeAlias = npt.NDArray[np.float32]
"""Shape [n_tokens, ...]: tokens first, whichever axis they are in llama.cpp."""


class Rows(NamedTuple):
    """New values for some tokens of a batch."""

    tokens: slice
    values: Activation


Overwrites: TypeAlias = Mapping[str, Sequence[Rows]]
"""By the name of the node."""


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` (ggml/include/ggml.h:685-717), as far as it is read here."""

    _fields_ = (
        ("type", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int32),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


_NAME_OFFSET = _Tensor.name.offset
_F32 = 0


class Taps:
    """The callback of a context. `prepare` before a decode, `take` after it.

    `token_dim` is the dimension, in llama.cpp's order, in which the nodes have the tokens.
    """

    def __init__(self, token_dim: int = 1) -> None:
        self.callback = llama_cpp().ggml_backend_sched_eval_callback(self._called)
        self.first_input = ""
        """What feeds block 0: found during the first decode."""
        self._token_dim = token_dim
        self._read: frozenset[bytes] = frozenset()
        self._overwrites: dict[bytes, Sequence[Rows]] = {}
        self._stop_after = b""
        self._is_stopped = False
        self._met: set[bytes] = set()
        self._found: dict[str, Activation] = {}
        self._wanted: npt.NDArray[np.bool_] = np.ones(0, dtype=np.bool_)
        self._error: Exception | None = None

    def prepare(
        self,
        wanted: npt.NDArray[np.bool_],
        read: Collection[str] = (),
        overwrites: Overwrites | None = None,
        stop_after: str = "",
    ) -> None:
        """Say what the next decode reads and overwrites; `wanted` are its flags, [n_tokens].

        After the node `stop_after` nothing more is computed, and the logits mean nothing.
        """
        self._wanted = wanted
        self._read = frozenset(name.encode() for name in read)
        self._overwrites = {name.encode(): rows for name, rows in (overwrites or {}).items()}
        self._stop_after = stop_after.encode()
        self._is_stopped = False
        self._met, self._found, self._error = set(), {}, None

    def take(self) -> dict[str, Activation]:
        """What the decode read, by node. Raises RefusedError when a node was not computed."""
        if self._error is not None:
            raise self._error
        missed = (self._read | self._overwrites.keys()) - self._met
        if missed:
            names = ", ".join(sorted(name.decode() for name in missed))
            raise RefusedError(f"llama.cpp's graph of this model has no node {names}")
        return self._found

    def _called(self, address: int, is_question: bool, _user_data: object) -> bool:
        name = ctypes.string_at(address + _NAME_OFFSET)
        if is_question:
            if not self.first_input and name.endswith(b"-0"):
                self.first_input = _first_activation(address)
            return self._is_stopped or name in self._read or name in self._overwrites
        if self._is_stopped:
            return False  # ends this part of the graph; another device's part may follow
        try:
            self._show(name, address)
        except Exception as error:  # must not pass through native code
            self._error = error
        self._is_stopped = self._error is not None or name == self._stop_after
        return not self._is_stopped

    def _show(self, name: bytes, address: int) -> None:
        tensor = _Tensor.from_address(address)
        self._met.add(name)
        if name in self._overwrites:
            self._write_rows(name, tensor, address)
        if name in self._read:
            values = np.moveaxis(_get(tensor, address), self._axis, 0)
            self._found[name.decode()] = np.ascontiguousarray(values)

    @property
    def _axis(self) -> int:
        return 3 - self._token_dim

    def _write_rows(self, name: bytes, tensor: _Tensor, address: int) -> None:
        whole = _get(tensor, address)
        rows_of = np.moveaxis(whole, self._axis, 0)
        for tokens, values in self._overwrites[name]:
            place, rows = self._present(tokens, values, len(rows_of))
            if rows_of[place].shape != rows.shape:
                raise RefusedError(
                    f"the residual stream has shape {rows.shape} where it was kept and "
                    f"{rows_of[place].shape} at {name.decode()}"
                )
            rows_of[place] = rows
        pointer = whole.ctypes.data_as(ctypes.c_void_p)
        ggml().ggml_backend_tensor_set(
            ctypes.c_void_p(address), pointer, ctypes.c_size_t(0), ctypes.c_size_t(whole.nbytes)
        )

    def _present(self, tokens: slice, values: Activation, n_rows: int) -> tuple[slice, Activation]:
        """Where they are in a node that may have wanted tokens alone, as the last block's has."""
        if n_rows == len(self._wanted):
            return tokens, values
        wanted = self._wanted[tokens]
        first = int(self._wanted[: tokens.start].sum())
        return slice(first, first + int(wanted.sum())), values[wanted]


def _get(tensor: _Tensor, address: int) -> Activation:
    """All of a node, in four dimensions, llama.cpp's first dimension last."""
    shape = tuple(tensor.ne)[::-1]
    values = np.empty(shape, dtype=np.float32)
    n_bytes = ggml().ggml_nbytes
    n_bytes.restype = ctypes.c_size_t
    if tensor.type != _F32 or n_bytes(ctypes.c_void_p(address)) != values.nbytes:
        raise RefusedError("a node that carries the residual stream is not plain float32")
    pointer = values.ctypes.data_as(ctypes.c_void_p)
    ggml().ggml_backend_tensor_get(
        ctypes.c_void_p(address), pointer, ctypes.c_size_t(0), ctypes.c_size_t(values.nbytes)
    )
    return values


def _first_activation(address: int) -> str:
    """The name of the first source of a node that is no weight."""
    for source in _Tensor.from_address(address).src:
        name: Any = ctypes.string_at(source + _NAME_OFFSET) if source else b""
        if name and not name.endswith(b".weight"):
            return str(name.decode())
    return ""
