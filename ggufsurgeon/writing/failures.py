"""System errors during writing, as errors that tell the user what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.writing.placement.preflight import FREE_SOME
from ggufsurgeon.writing.placement.reservation import NO_ROOM
from ggufsurgeon.writing.span_writers.copying import SourceReadError

FAILING_DISK = (
    "The disk may be failing: check the kernel log (dmesg), and back up the data on it first."
)


def write_failed(destination: Path, error: OSError) -> WriteFailedError:
    """The error for a file that could not be written; names the source where that is the cause."""
    if isinstance(error, SourceReadError):
        return WriteFailedError(str(error), hint=hint_of(error))
    folder = Path(os.path.realpath(destination)).parent
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not folder.is_dir():
        problem = f"the folder {folder} was removed or renamed meanwhile"
        return WriteFailedError(f"{destination}: {problem}", hint="Use another destination.")
    return WriteFailedError(f"{destination}: {error.strerror or error}", hint=hint_of(error))


def hint_of(error: OSError) -> str:
    """The hint for an error; empty if there is none."""
    if error.errno in NO_ROOM:
        return FREE_SOME
    return FAILING_DISK if error.errno in (errno.EIO, errno.EROFS) else ""
