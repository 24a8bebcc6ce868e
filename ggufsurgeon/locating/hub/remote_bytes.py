"""The first bytes of a file on a server, fetched as far as they are read."""

from __future__ import annotations

from contextlib import ExitStack
from types import ModuleType
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.hub.address import HubAddress
from ggufsurgeon.locating.hub.failures import explained

FIRST_N_BYTES = 1 << 18
"""Bytes of the first request: the header of a model with a small vocabulary."""
MOST_N_BYTES = 1 << 26
"""Largest number of bytes that are fetched, so that no length in a header fetches a whole file.

Headers with a vocabulary of 262,144 tokens have about 16 million bytes."""
PARTIAL, WHOLE = 206, 200


class RemoteBytes:
    """A file of `n_bytes` at `url`, to be sliced like `bytes` from its start on.

    Each request asks for the next range, half as long again as what is there, since headers have no
    length. A server that ignores ranges sends the whole file: it is read as far as it is needed, on
    one connection, which is then closed. Use it in a `with` block. Slices raise UsageError where
    the server fails.
    """

    def __init__(self, address: HubAddress, url: str, n_bytes: int) -> None:
        self._address = address
        self._url = url
        self._n_bytes = n_bytes
        self._head = bytearray()
        self._stack = ExitStack()
        self._pieces: Any = None
        """The rest of the answer of a server that ignores ranges."""

    def __enter__(self) -> RemoteBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return self._n_bytes

    @property
    def n_bytes_fetched(self) -> int:
        """Bytes of the file that were taken from the server."""
        return len(self._head)

    def __getitem__(self, place: slice) -> bytes:
        start, end, _ = place.indices(self._n_bytes)
        if end > MOST_N_BYTES:
            raise UsageError(
                f"{self._address}: its header has more than {MOST_N_BYTES:,} bytes",
                hint="Download the file if it is to be trusted, and give its path.",
            )
        if end > len(self._head):
            with explained(self._address) as package:
                self._fetch(package, end)
        return bytes(self._head[start:end])

    def _fetch(self, package: ModuleType, end: int) -> None:
        if self._pieces is None:
            n_more = max(FIRST_N_BYTES, len(self._head) // 2)
            self._ask(package, min(max(end, len(self._head) + n_more), self._n_bytes))
        if self._pieces is not None:
            self._take(self._pieces, end)
        if len(self._head) < end:
            raise self._cut_off()

    def _ask(self, package: ModuleType, end: int) -> None:
        """Request the bytes up to `end`; take them, or keep the answer that has all bytes."""
        start = len(self._head)
        headers = {
            **package.utils.build_hf_headers(),
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        timeout = package.constants.HF_HUB_DOWNLOAD_TIMEOUT
        client = package.utils.get_session()
        with ExitStack() as stack:
            response = stack.enter_context(
                client.stream(
                    "GET", self._url, headers=headers, timeout=timeout, follow_redirects=True
                )
            )
            package.utils.hf_raise_for_status(response)
            if response.status_code == WHOLE and start == 0:
                self._pieces = response.iter_raw()
                self._stack = stack.pop_all()
            elif response.status_code == PARTIAL and self._is_range(response, start):
                self._take(response.iter_raw(), end)
            else:
                raise self._no_answer(response.status_code)

    def _is_range(self, response: Any, start: int) -> bool:
        """Whether an answer is the range that was asked for, of a file of the expected size."""
        told = str(response.headers.get("Content-Range", ""))
        return told.startswith(f"bytes {start}-") and told.endswith(f"/{self._n_bytes}")

    def _take(self, pieces: Any, end: int) -> None:
        """Append pieces until there are `end` bytes, and no piece more."""
        while len(self._head) < end and (piece := next(pieces, None)) is not None:
            self._head += piece

    def _cut_off(self) -> UsageError:
        found = f"{len(self._head):,} of {self._n_bytes:,} bytes"
        return UsageError(
            f"{self._address}: the server ended after {found}",
            hint="Try again; the file on the server may be damaged.",
        )

    def _no_answer(self, status: int) -> UsageError:
        return UsageError(
            f"{self._address}: the server answered {status} with other bytes than were requested",
            hint="Try again, or download the file and give its path.",
        )
