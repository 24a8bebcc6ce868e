"""Removal of temporary files that killed processes left behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ggufsurgeon.writing.placement.file_systems import LOCAL, file_system_of
from ggufsurgeon.writing.placement.temporaries import NAME, lock


def remove_strays(folders: Iterable[Path]) -> None:
    """Remove the temporary files of this user that no process is writing any more.

    A process that writes a temporary file holds a lock on it. Locks are reliable only on local file
    systems, so that files on others are left alone. Failures are ignored.
    """
    for folder in set(folders):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name):
                    _remove_stray(Path(entry.path))


def _remove_stray(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if is_ours and file_system_of(descriptor) in LOCAL:
                lock(descriptor, wait=False)  # raises where its writer is alive
                path.unlink()
        finally:
            os.close(descriptor)
