"""Write plans to new files: temporary siblings, sync, rename, sync of the folder."""

from __future__ import annotations

import os
import secrets
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ggufsurgeon.errors import PermissionsWarning, WriteFailedError
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.write_plan import WritePlan
from ggufsurgeon.writing.copying import Copier
from ggufsurgeon.writing.digests import check_sha256
from ggufsurgeon.writing.preflight import (
    FREE_SOME,
    already_exists,
    check_destination,
    check_destinations,
    check_place,
)
from ggufsurgeon.writing.reservation import NO_ROOM, reserve
from ggufsurgeon.writing.sources import opened_sources
from ggufsurgeon.writing.spans import write_span


def write_new_file(
    plan: WritePlan,
    destination: Path,
    *,
    replace: bool = False,
    over_source: bool = False,
    progress: Progress = NO_PROGRESS,
    sha256: str | None = None,
) -> Path:
    """Write `plan` to `destination`, and return the file that was written, links followed.

    With `over_source` it may be a source of the plan, whose place the new file takes.

    Raises RefusedError or WriteFailedError, or VerificationError where what was written does not
    have the `sha256` that is asked for; the destination is then as it was, and no temporary file
    is left. Warns (PermissionsWarning) when a file is replaced whose permissions the new one cannot
    be given.
    """
    try:
        target = check_destination(plan, destination, replace=replace, over_source=over_source)
        with (
            opened_sources(plan.sources) as sources,
            temporary_sibling(target) as (temporary, descriptor),
        ):
            progress.begin("writing", plan.n_bytes, "bytes")
            reserve(descriptor, plan.n_bytes, target)
            _write(plan, sources, Copier(descriptor, progress))
            if sha256 is not None:
                check_sha256(descriptor, plan.n_bytes, sha256, progress)
            lost = _publish(temporary, target, replace=replace)
    except OSError as error:
        raise _failed(destination, error) from error
    _finish(target, lost)
    return target


def write_new_shards(
    plans: Sequence[WritePlan], destinations: Sequence[Path], *, progress: Progress = NO_PROGRESS
) -> None:
    """Write plans over the same sources to files that are one model together, the first last.

    The names appear once all are written and synced. Killed in between, some of the others may be
    there, and never the first, without which the others are no model. Raises RefusedError when one
    of them exists, and WriteFailedError; none is then there, and no temporary file is left.
    """
    first = destinations[0]
    sources = plans[0].sources
    try:
        targets = check_destinations(plans, destinations)
        with opened_sources(sources) as opened, temporary_siblings(targets) as files:
            progress.begin("writing", sum(plan.n_bytes for plan in plans), "bytes")
            parts = list(zip(plans, files, targets, strict=True))
            for plan, (_, file), target in parts:  # room for all, before the first byte
                reserve(file, plan.n_bytes, target)
            for plan, (_, file), _ in parts:
                _write(plan, opened, Copier(file, progress))
            _publish_all([temporary for temporary, _ in files], targets)
    except OSError as error:
        raise _failed(first, error) from error
    _sync_folders(targets)


def _publish_all(temporaries: Sequence[Path], targets: Sequence[Path]) -> None:
    """Publish the files from the last to the first; where one cannot be, none is there."""
    files = [temporary.stat() for temporary in temporaries]
    try:
        for number in range(len(targets) - 1, -1, -1):
            if number == 0:  # durable in this order too
                _sync_folders(targets)
            _publish(temporaries[number], targets[number], replace=False)
    except BaseException:
        for target, file in zip(targets, files, strict=True):
            _withdraw(target, file)
        raise


def _withdraw(target: Path, file: os.stat_result) -> None:
    """Remove what was published, and no file that somebody else made in the meantime."""
    with suppress(OSError):
        if os.path.samestat(target.stat(), file):
            target.unlink()


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
            lost = _publish(temporary, target, replace=replace)
    except OSError as error:
        raise _failed(destination, error) from error
    _finish(target, lost)


def _failed(destination: Path, error: OSError) -> WriteFailedError:
    hint = FREE_SOME if error.errno in NO_ROOM else ""
    return WriteFailedError(f"{destination}: {error.strerror or error}", hint=hint)


def _write(plan: WritePlan, sources: list[int], copier: Copier) -> None:
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


@contextmanager
def temporary_siblings(targets: Sequence[Path]) -> Iterator[list[tuple[Path, int]]]:
    """A new file beside each of `targets`, as `temporary_sibling`.

    Not a stack of those: a signal between two of them would leave one behind.
    """
    names = [f".ggufsurgeon-{secrets.token_hex(8)}.tmp" for _ in targets]
    temporaries = [target.with_name(name) for target, name in zip(targets, names, strict=True)]
    descriptors: list[int] = []
    try:
        try:
            for temporary in temporaries:
                descriptors.append(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            yield list(zip(temporaries, descriptors, strict=True))
        finally:
            for descriptor in descriptors:
                with suppress(OSError):  # synced or given up by now
                    os.close(descriptor)
    finally:
        try:
            _remove_all(temporaries)
        except BaseException:  # a signal came in between; a second one is ignored
            _remove_all(temporaries)
            raise


def _remove_all(temporaries: Iterable[Path]) -> None:
    for temporary in temporaries:
        _remove(temporary)


def _remove(temporary: Path) -> None:
    """Remove a temporary file. A failure here must not be reported as a failure to write."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, target: Path, *, replace: bool) -> str:
    """Give a complete file its name. Says which permissions it could not be given, if any."""
    if replace:
        lost = _keep_permissions(temporary, target)
        temporary.replace(target)
        return lost
    try:
        # A link, not a rename: it fails when somebody made the destination in the meantime.
        target.hardlink_to(temporary)
    except FileExistsError:
        raise already_exists(target) from None
    except OSError:  # no hard links on this file system
        if target.exists():
            raise already_exists(target) from None
        temporary.rename(target)
    return ""


def _keep_permissions(temporary: Path, target: Path) -> str:
    """Give the new file the permissions of the old one; says why not, where that cannot be."""
    try:
        old = target.stat().st_mode
    except FileNotFoundError:
        return ""
    new = temporary.stat().st_mode
    if stat.S_IMODE(old) == stat.S_IMODE(new):
        return ""
    try:
        temporary.chmod(stat.S_IMODE(old))
    except OSError as error:  # mounts of Windows and of networks may have permissions of their own
        return (
            f"{target} is written, with permissions {stat.filemode(new)} instead of "
            f"{stat.filemode(old)}: they cannot be changed there ({error.strerror})"
        )
    return ""


def _finish(target: Path, lost: str) -> None:
    _sync_folder(target.parent)
    if lost:
        warnings.warn(lost, PermissionsWarning, stacklevel=3)


def _sync_folders(targets: Iterable[Path]) -> None:
    for folder in {target.parent for target in targets}:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable. The file is complete by now: a failure changes nothing in it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
