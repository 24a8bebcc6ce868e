"""The contents of new files: blocks shared with the sources, and blocks that are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ggufsurgeon.progress import Progress
from ggufsurgeon.write_plan import WritePlan, Written
from ggufsurgeon.writing.placement.preflight import check_room
from ggufsurgeon.writing.placement.reservation import reserve_new
from ggufsurgeon.writing.span_writers.copying import Copier
from ggufsurgeon.writing.span_writers.sharing import share, unshared
from ggufsurgeon.writing.span_writers.spans import write_span


def write_contents(
    plans: Sequence[WritePlan],
    sources: Sequence[int],
    files: Sequence[int],
    targets: Sequence[Path],
    progress: Progress,
) -> Written:
    """Write plans over the same open sources to empty open files, and sync them.

    Blocks are shared first, since only the others need space. Space for all files is reserved
    before the first byte is written. Raises WriteFailedError, which names a target, or OSError
    when there is no space.
    """
    places = [
        unshared(plan, share(plan, sources, file, progress))
        for plan, file in zip(plans, files, strict=True)
    ]
    n_bytes = sum(len(place) for each in places for place in each)
    check_room(n_bytes, targets[0])
    progress.begin("writing", n_bytes, "bytes")
    for plan, each, file, target in zip(plans, places, files, targets, strict=True):
        reserve_new(file, each, plan.n_bytes, target)
    for plan, each, file in zip(plans, places, files, strict=True):
        _write(plan, each, sources, Copier(file, progress))
    total = sum(plan.n_bytes for plan in plans)
    return Written(total, total - n_bytes)


def _write(
    plan: WritePlan, places: Iterable[range], sources: Sequence[int], copier: Copier
) -> None:
    for place in places:
        copier.go_to(place.start)
        copier.write(plan.header[place.start : place.stop])  # empty for later places
        for span in plan.between(place.start, place.stop):
            write_span(copier, sources, span)
    copier.finish()
