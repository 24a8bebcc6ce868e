"""Files that are being written: without a name where that is supported, else with a temporary one.

A file without a name (O_TMPFILE, open(2)) disappears with its process. A file with a name is locked
by its writer, so that `strays` can recognise files that a killed process has left behind.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.writing.placement.file_systems import LOCAL, file_system_of

NAME = re.compile(r"\.ggufsurgeon-[0-9a-f]{24}\.tmp")
"""Names of temporary files. Names with 16 digits are from versions that did not lock the files."""


class Temporary:
    """A new file in the folder of `target`. Made by `temporaries`, published by `publishing`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = _temporary_name(target)
        """Its temporary name, or the name that `give_name` would give it."""
        self.descriptor = -1
        """For reading and writing."""
        self.is_named = False
        self._folder = -1

    def open(self, *, named: bool) -> None:
        """Create the file, with a name if `named`, or if the file system requires one."""
        flags = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
        self._folder = os.open(self.target.parent, flags)
        # The umask applies to the mode, as for any new file.
        if not named and hasattr(os, "O_TMPFILE"):
            with suppress(OSError):  # any other error occurs again below
                self.descriptor = os.open(self.target.parent, os.O_RDWR | os.O_TMPFILE, 0o666)
                lock(self.descriptor)
                if file_system_of(self.descriptor) in LOCAL:  # "" without /proc, which `link` needs
                    return
            self.close()  # `link` might fail after all data are written
        self.is_named = True
        while not self._open_named():
            self.path = _temporary_name(self.target)

    def _open_named(self) -> bool:
        """Create and lock the file. False if it was removed in between, when it had no lock."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lock(self.descriptor)
        if os.path.lexists(self.path):
            return True
        self.close()
        return False

    def link(self, path: Path) -> None:
        """Give the file a name, or another name. Raises FileExistsError if `path` exists."""
        if self.is_named:
            os.link(self.path, path)
        else:
            # A symbolic link to the file (proc(5)). With src_dir_fd, which has no effect on an
            # absolute path, Python calls linkat(2), which can follow the link.
            link = f"/proc/self/fd/{self.descriptor}"
            os.link(link, path, src_dir_fd=self.descriptor, follow_symlinks=True)

    def give_name(self) -> Path:
        """Its temporary name, for renaming. The file is given this name if it has none."""
        if not self.is_named:
            self.link(self.path)
            self.is_named = True
        return self.path

    def close(self) -> None:
        """Close the file. It is synced or abandoned by now, so that errors can be ignored."""
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def remove(self) -> None:
        """Remove the temporary name, even if the folder was renamed. Errors are ignored."""
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
    """A new file for each of `targets`. Files that were not published are removed at the end.

    `named` is for files that other libraries open by path. This is one context manager instead of a
    stack of them, since a signal between two entries of a stack would leave a file behind.
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

    Raises BlockingIOError if another process holds the lock, unless `wait`. With `wait`, missing
    support for locks, as on some network mounts, is ignored: `strays` removes no files there.
    """
    try:
        import fcntl  # not on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        if not wait:
            raise
