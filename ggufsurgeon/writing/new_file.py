"""Writing plans to new files, which get their names once they are complete."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.errors import PermissionsWarning
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.write_plan import WritePlan, Written
from ggufsurgeon.writing.contents import write_contents
from ggufsurgeon.writing.digests import check_sha256
from ggufsurgeon.writing.failures import write_failed
from ggufsurgeon.writing.placement.preflight import check_place, check_places
from ggufsurgeon.writing.placement.publishing import publish, publish_all, sync_folders
from ggufsurgeon.writing.placement.strays import remove_strays
from ggufsurgeon.writing.placement.temporaries import temporaries
from ggufsurgeon.writing.span_writers.copying import write_all
from ggufsurgeon.writing.span_writers.sources import opened_sources


def write_new_file(
    plan: WritePlan,
    destination: Path,
    *,
    replace: bool = False,
    over_source: bool = False,
    progress: Progress = NO_PROGRESS,
    sha256: str | None = None,
) -> Written:
    """Write `plan` to `destination`; what needs no copying is shared with the sources.

    With `over_source`, the destination may be a source of the plan, which the new file replaces.
    Raises RefusedError or WriteFailedError, or VerificationError if the written file does not have
    the SHA-256 `sha256`; the destination is then unchanged, and no temporary file is left. Warns
    (PermissionsWarning) when the new file cannot get the permissions of the replaced one.
    """
    with _told(destination):
        target = check_place(() if over_source else _paths(plan), destination, replace=replace)
        remove_strays([target.parent])
        with temporaries([target]) as (file,):
            with opened_sources(plan.sources) as sources:
                written = write_contents([plan], sources, [file.descriptor], [target], progress)
            if sha256 is not None:
                check_sha256(file.descriptor, plan, sha256, progress)
            lost = publish(file, replace=replace)
    _finish(target, lost)
    return written


def write_new_shards(
    plans: Sequence[WritePlan],
    destinations: Sequence[Path],
    *,
    progress: Progress = NO_PROGRESS,
    sha256s: Sequence[str] = (),
) -> Written:
    """Write plans over the same sources to files that are one model together, the first last.

    The names appear once all files are written and synced. If the process is killed in between,
    some of the later shards may exist, but never the first, without which they cannot be loaded.
    Raises RefusedError when one of the files exists, WriteFailedError, and VerificationError if one
    does not have its SHA-256 in `sha256s`; no shard and no temporary file is then left.
    """
    with _told(destinations[0]):
        targets = check_places(_paths(plans[0]), destinations)
        remove_strays(target.parent for target in targets)
        with temporaries(targets) as files:
            with opened_sources(plans[0].sources) as sources:
                descriptors = [file.descriptor for file in files]
                written = write_contents(plans, sources, descriptors, targets, progress)
            for plan, file, sha256 in zip(plans, files, sha256s, strict=False):
                check_sha256(file.descriptor, plan, sha256, progress)
            publish_all(files)
    sync_folders(targets)
    return written


def write_bytes(content: bytes, destination: Path, *, replace: bool) -> None:
    """Write a small file whole, or nothing. Raises as `new_file`."""
    with _told(destination):
        target = check_place((), destination, replace=replace)
        remove_strays([target.parent])
        with temporaries([target]) as (file,):
            write_all(file.descriptor, content)
            os.fsync(file.descriptor)
            lost = publish(file, replace=replace)
    _finish(target, lost)


@contextmanager
def new_file(destination: Path, sources: Iterable[Path], *, replace: bool) -> Iterator[Path]:
    """An empty temporary file for others to write and sync; `destination` once the block ends.

    Raises RefusedError, at once, when the destination is one of `sources` or exists (unless
    `replace`), and WriteFailedError; it is then as it was, and no temporary file is left.
    """
    target = check_place(sources, destination, replace=replace)
    with _told(destination):
        remove_strays([target.parent])
        with temporaries([target], named=True) as (file,):
            yield file.path
            lost = publish(file, replace=replace)
    _finish(target, lost)


@contextmanager
def _told(destination: Path) -> Iterator[None]:
    """Errors of the system as WriteFailedError."""
    try:
        yield
    except OSError as error:
        raise write_failed(destination, error) from error


def _paths(plan: WritePlan) -> list[Path]:
    return [Path(source.path) for source in plan.sources]


def _finish(target: Path, lost: str) -> None:
    sync_folders([target])
    if lost:
        warnings.warn(lost, PermissionsWarning, stacklevel=3)
