"""Files that are being written: without a name where that can be, else under a temporary one.

A file without a name (O_TMPFILE, open(2)) vanishes with its process. One that has a name is locked
by its writer, so that `strays` can tell what a killed process has left behind.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.writing.file_systems import LOCAL, file_system_of

NAME = re.compile(r"\.ggufsurgeon-[0-9a-f]{24}\.tmp")
"""Of temporary files. Those with 16 digits are of versions that did not lock them."""


class Temporary:
    """A new file in the folder of `target`. Made by `temporaries`, published by `publishing`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = _temporary_name(target)
        """Its name while it has one; until then the one that it can be given."""
        self.descriptor = -1
        """For reading and writing."""
        self.is_named = False
        self._folder = -1

    def open(self, *, named: bool) -> None:
        """Create it, with a name if it must have one, or cannot be without."""
        flags = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
        self._folder = os.open(self.target.parent, flags)
        # The mode is less the user's umask, as that of any new file.
        if not named and hasattr(os, "O_TMPFILE"):
            with suppress(OSError):  # a named file meets the cause too, unless it is O_TMPFILE
                self.descriptor = os.open(self.target.parent, os.O_RDWR | os.O_TMPFILE, 0o666)
                lock(self.descriptor)
                if file_system_of(self.descriptor) in LOCAL:  # not where /proc is not there
                    return
            self.close()  # it might not be given a name in the end
        self.is_named = True
        while not self._open_named():
            self.path = _temporary_name(self.target)

    def _open_named(self) -> bool:
        """Whether it is there, and locked: between the two it looks like a stray."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lock(self.descriptor)
        if os.path.lexists(self.path):
            return True
        self.close()
        return False

    def link(self, path: Path) -> None:
        """Give it a name, or one more. Raises FileExistsError where there is such a file."""
        if self.is_named:
            os.link(self.path, path)
        else:
            # A symbolic link to it (proc(5)). With a descriptor, of which an absolute path makes no
            # use, Python calls linkat(2), which follows it.
            link = f"/proc/self/fd/{self.descriptor}"
            os.link(link, path, src_dir_fd=self.descriptor, follow_symlinks=True)

    def give_name(self) -> Path:
        """Its temporary name, which it is given if it has none: what can be renamed."""
        if not self.is_named:
            self.link(self.path)
            self.is_named = True
        return self.path

    def close(self) -> None:
        """Close it. It is synced, or given up, by now: a failure has no consequence."""
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def remove(self) -> None:
        """Take its temporary name away, wherever its folder is. A failure has no consequence."""
        if self._folder >= 0:
            with suppress(OSError):
                os.unlink(self.path.name, dir_fd=self._folder)
            with suppress(OSError):
                os.close(self._folder)
            self._folder = -1


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".ggufsurgeon-{secrets.token_hex(12)}.tmp")


@contextmanager
def temporaries(targets: Sequence[Path], *, named: bool = False) -> Iterator[list[Temporary]]:
    """A new file for each of `targets`; what was not published is gone when the block ends.

    Named ones are for others, who open them by their paths. Not a stack of single ones: a signal
    between two of them would leave one behind.
    """
    files = [Temporary(target) for target in targets]
    try:
        try:
            for file in files:
                file.open(named=named)
            yield files
        finally:
            for file in files:
                file.close()
    finally:
        try:
            _remove_all(files)
        except BaseException:  # a signal came in between; a second one is ignored
            _remove_all(files)
            raise


def _remove_all(files: Sequence[Temporary]) -> None:
    for file in files:
        file.remove()


def lock(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file until it is closed, or its process ends (flock(2)).

    Raises BlockingIOError where another holds the lock and this one does not `wait`. Locks that
    cannot be had, as on some mounts of networks, are not missed there: `strays` leaves them alone.
    """
    try:
        import fcntl  # not on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        if not wait:
            raise
