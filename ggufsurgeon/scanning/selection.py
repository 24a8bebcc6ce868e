"""Which of the layer paths of a scan are run, and why the others are left out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.costs import PathCosts
from ggufsurgeon.store.scan_scores import ScannedPath


class LeftOut(NamedTuple):
    """Paths that something is said against."""

    n_paths: int
    reason: str
    """The most frequent one; empty without paths."""


class Selection(NamedTuple):
    """The paths of a scan."""

    runnable: tuple[LayerPath, ...]
    known: tuple[ScannedPath, ...]
    """What a store keeps of paths: of those that are run or cannot be."""
    refused: LeftOut
    """Paths that cannot be run exactly."""
    not_writable: LeftOut
    """Paths of which no file can be written, among those that are run or left out for it."""
    has_base: bool
    """Whether the path of the unmodified model was among them: it is what others are compared
    with, so it is no path of its own."""


def select_paths(
    paths: Sequence[LayerPath],
    costs: PathCosts,
    base: LayerPath,
    *,
    is_aliased: bool,
    only_writable: bool,
) -> Selection:
    """The paths of a scan, which runs them routed, or with `is_aliased` as the written file.

    Raises RefusedError where none is left of some paths, UsageError where all of them are `base`.
    """

    def can_run(known: ScannedPath) -> bool:
        return not known.refusal or (is_aliased and not known.not_writable)

    named = {path: costs.of(path) for path in paths if path != base}
    kept = {
        path: known for path, known in named.items() if not (only_writable and known.not_writable)
    }
    runnable = tuple(path for path, known in kept.items() if can_run(known))
    selection = Selection(
        runnable,
        tuple(kept.values()),
        _counted([one.refusal for one in named.values() if not can_run(one)]),
        _counted([one.not_writable for one in named.values() if can_run(one)]),
        base in paths,
    )
    if paths and not runnable:
        raise _nothing_left(selection)
    return selection


def _counted(reasons: Sequence[str]) -> LeftOut:
    """How many of the reasons are not empty, and the most frequent of these."""
    counts = Counter(filter(None, reasons))
    most = max(counts, key=counts.__getitem__, default="")
    others = ", among other reasons" if len(counts) > 1 else ""
    return LeftOut(counts.total(), f"{most}{others}")


def _nothing_left(selection: Selection) -> Exception:
    """The error for a scan without a path."""
    found = (
        (selection.refused, "cannot be run exactly"),
        (selection.not_writable, "cannot be written to a file"),
    )
    told = [f"{left.n_paths} {why} ({left.reason})" for left, why in found if left.n_paths]
    if told:
        return RefusedError(f"no layer path is left to scan: {', '.join(told)}")
    return UsageError(
        "no layer path is left to scan: that of the unmodified model, which others are compared "
        "with, is the only one"
    )
