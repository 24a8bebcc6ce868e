"""Exclusive access to a file that is about to be changed: no other edit, and no other process that
has it open."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.errors import RefusedError
from ggufsurgeon.in_place.edit import CannotInsertError
from ggufsurgeon.in_place.processes import users_of
from ggufsurgeon.writing.placement.temporaries import lock

BRIEFLY_S = 0.3
"""Seconds to wait, before an edit, for other processes to close the file."""
PATIENCE_S = 5.0
"""Seconds to wait during an edit: file managers and indexers open changed files."""


class Hold:
    """A file that is open for reading and writing, and locked against other edits."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.status = os.fstat(descriptor)

    @contextmanager
    def alone(self, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Take a write lease (fcntl(2)): other processes that open the file block meanwhile.

        They block for at most 45 s (/proc/sys/fs/lease-break-time). Raises RefusedError when
        another process has the file open or mapped, and CannotInsertError where leases are not
        supported, as on network file systems.
        """
        import fcntl  # not on Windows

        # The signal for a lease break. Unlike SIGIO, SIGURG is ignored by default, as it should be.
        fcntl.fcntl(self.descriptor, fcntl.F_SETSIG, signal.SIGURG)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self._in_use() from None
            except OSError as error:
                raise CannotInsertError(
                    f"cannot determine whether another process has it open ({error.strerror})"
                ) from None
            time.sleep(0.05)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def _in_use(self) -> RefusedError:
        users = ", ".join(users_of(self.status)) or "a process that cannot be seen from here"
        return RefusedError(
            f"{self.path} is open in {users}, which would read changed data",
            hint="End the process that uses the file, or patch to a new file.",
        )


@contextmanager
def held(path: Path) -> Iterator[Hold]:
    """A hold on the file at `path`. Raises RefusedError when another edit of it is running, and
    OSError when it cannot be opened for writing."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        _lock(descriptor, path)
        yield Hold(path, descriptor)
    finally:
        with suppress(OSError):  # synced or given up by now
            os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        lock(descriptor, wait=False)
    except BlockingIOError:
        raise RefusedError(f"{path} is being edited by another process") from None
    except (ImportError, OSError):  # no locks here: nothing is inserted there either
        return
