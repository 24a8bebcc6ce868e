"""Write a plan to a new file: temporary sibling, sync, rename, sync of the folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.copying import Copier
from ggufsurgeon.writing.digests import check_sha256
from ggufsurgeon.writing.preflight import already_exists, check_destination, check_place
from ggufsurgeon.writing.sources import opened_sources
from ggufsurgeon.writing.spans import write_span


def write_new_file(
    plan: WritePlan,
    destination: Path,
    *,
    replace: bool = False,
    progress: Progress = NO_PROGRESS,
    sha256: str | None = None,
) -> Path:
    """Write `plan` to `destination`, and return the file that was written, links followed.

    Raises RefusedError or WriteFailedError, or VerificationError where what was written does not
    have the `sha256` that is asked for; the destination is then as it was, and no temporary file
    is left.
    """
    try:
        target = check_destination(plan, destination, replace=replace)
        with (
            opened_sources(plan.sources) as sources,
            temporary_sibling(target) as (temporary, descriptor),
        ):
            _write(plan, sources, descriptor, progress)
            if sha256 is not None:
                check_sha256(descriptor, plan.n_bytes, sha256, progress)
            _publish(temporary, target, replace=replace)
    except OSError as error:
        raise WriteFailedError(f"{destination}: {error.strerror or error}") from error
    _sync_folder(target.parent)
    return target


def write_bytes(content: bytes, destination: Path, *, replace: bool) -> None:
    """Write a small file whole, or nothing. Raises as `new_file`."""
    with new_file(destination, (), replace=replace) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_file(destination: Path, sources: Iterable[Path], *, replace: bool) -> Iterator[Path]:
    """An empty temporary file for others to write and sync; `destination` once the block ends.

    Raises RefusedError, at once, when the destination is one of `sources` or exists (unless
    `replace`), and WriteFailedError; it is then as it was, and no temporary file is left.
    """
    target = check_place(sources, destination, replace=replace)
    try:
        with temporary_sibling(target) as (temporary, _):
            yield temporary
            _publish(temporary, target, replace=replace)
    except OSError as error:
        raise WriteFailedError(f"{destination}: {error.strerror or error}") from error
    _sync_folder(target.parent)


def _write(plan: WritePlan, sources: list[int], descriptor: int, progress: Progress) -> None:
    progress.begin("writing", plan.n_bytes, "bytes")
    copier = Copier(descriptor, plan.n_bytes, progress)
    copier.write(plan.header)
    for span in plan.spans:
        write_span(copier, sources, span)
    copier.finish()


@contextmanager
def temporary_sibling(target: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `target`, so that a rename can publish it; removed on the way out."""
    temporary = target.with_name(f".ggufsurgeon-{secrets.token_hex(8)}.tmp")
    try:
        mode = 0o666  # less the user's umask, as for any new file
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            yield temporary, descriptor
        finally:
            with suppress(OSError):  # synced or given up by now
                os.close(descriptor)
    finally:
        try:
            _remove(temporary)
        except BaseException:  # a signal came in between; a second one is ignored
            _remove(temporary)
            raise


def _remove(temporary: Path) -> None:
    """Remove a temporary file. A failure here must not be reported as a failure to write."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, target: Path, *, replace: bool) -> None:
    if replace:
        with suppress(FileNotFoundError):
            temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
        return
    try:
        # A link, not a rename: it fails when somebody made the destination in the meantime.
        target.hardlink_to(temporary)
    except FileExistsError:
        raise already_exists(target) from None
    except OSError:  # no hard links on this file system
        if target.exists():
            raise already_exists(target) from None
        temporary.rename(target)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable. The file is complete by now: a failure changes nothing in it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
