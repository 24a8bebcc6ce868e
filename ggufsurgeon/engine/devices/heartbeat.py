"""Detection of RPC servers that no longer answer while a job waits for them.

llama.cpp waits for an answer without a limit (ggml/src/ggml-rpc/ggml-rpc.cpp:319-340), and nothing
tells a frozen server from a busy one: the system accepts connections for a stopped process, and
a server greets its next client only after it has served the present one (ggml-rpc.cpp:2143). What
is left is a limit on how long a job may go without a sign of life: a decode, a tensor loaded, a
context made, a report.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ggufsurgeon.errors import UsageError

TICK_SECONDS = 0.5
"""Silence is counted in ticks, not by the clock: a tick that the process slept through, stopped
by Ctrl-Z or with its machine, counts as one."""

_n_beats = 0
_awaited: list[tuple[tuple[str, ...], float]] = []


def beat() -> None:
    """Note that the running job has come further."""
    global _n_beats
    _n_beats += 1


@contextmanager
def awaiting(servers: Sequence[str], timeout_s: float) -> Iterator[None]:
    """Limit the silence of a job to `timeout_s` seconds while a model is on RPC `servers`."""
    entry = (tuple(servers), timeout_s)
    if servers:
        _awaited.append(entry)
    try:
        yield
    finally:
        if servers:
            _awaited.remove(entry)


class SilenceWatch:
    """A thread that calls `on_silence` when a job has waited too long for RPC servers.

    It watches while `is_on`. `on_silence` is given the UsageError to raise; of several models on
    servers the longest limit counts.
    """

    def __init__(self, on_silence: Callable[[UsageError], None]) -> None:
        self.is_on = False
        self._on_silence = on_silence
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        n_seen, silence = -1, 0.0
        while True:
            time.sleep(TICK_SECONDS)
            awaited = list(_awaited)
            is_silent = self.is_on and bool(awaited) and _n_beats == n_seen
            n_seen, silence = _n_beats, silence + TICK_SECONDS if is_silent else 0.0
            limit = max((timeout_s for _, timeout_s in awaited), default=0.0)
            if is_silent and silence >= limit:
                servers = sorted({name for names, _ in awaited for name in names})
                self._on_silence(_error(servers, limit))


def _error(servers: Sequence[str], timeout_s: float) -> UsageError:
    return UsageError(
        f"no result for {timeout_s:g} seconds from a model on the RPC servers {', '.join(servers)}",
        hint="A server has probably frozen, or its machine is out of reach: restart it. If they "
        "are only slow, use smaller batches, or a longer rpc_timeout_s of Devices.",
    )
