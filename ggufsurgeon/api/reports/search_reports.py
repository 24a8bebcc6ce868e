"""What the searches in a store found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.scanning.search.findings import SearchFindings
    from ggufsurgeon.store.scan_scores import ScanTable
    from ggufsurgeon.store.searches import KeptSearch


def search_findings(
    store: PathLike, *, header_sha256: str | None = None, number: int | None = None
) -> tuple[SearchFindings, ...]:
    """The findings of the searches in a store, in the order in which they began.

    `header_sha256` selects the searches of one model, `number` one search. Raises UsageError for a
    file that does not exist, RefusedError for one that is not a store.
    """
    from ggufsurgeon.store.store import readable_store

    path = Path(store)
    if not path.exists():
        raise UsageError(f"{path}: there is no such store")
    with readable_store(path) as opened:
        return tuple(
            _findings(opened.scans, kept)
            for kept in opened.searches.all()
            if number in (None, kept.number)
            and header_sha256 in (None, opened.scans.fingerprint(kept.model).header_sha256)
        )


def searched_probes(store: PathLike, header_sha256: str) -> list[str]:
    """The names of the searches of a model in a store, each once."""
    from ggufsurgeon.store.store import readable_store

    with readable_store(Path(store)) as opened:
        names = [
            kept.scores.name
            for kept in opened.searches.all()
            if opened.scans.fingerprint(kept.model).header_sha256 == header_sha256
        ]
    return list(dict.fromkeys(names))


def searched_path(
    store: PathLike, header_sha256: str, probe: str, rank: int | None
) -> LayerPath | None:
    """The path that a search found better, or that of a rank by score; None without such a search.

    Raises RefusedError when the verdict is noise and no rank is given, UsageError where there are
    several searches by the probe or no such rank.
    """
    found = [
        one for one in search_findings(store, header_sha256=header_sha256) if one.probe == probe
    ]
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(
            f"{store}: it has {len(found)} searches by the probe {probe}",
            hint="Name the layer path itself, as the report prints it.",
        )
    from ggufsurgeon.scanning.search.verdict import is_better

    (one,) = found
    if rank is None:
        if not one.is_better:
            raise RefusedError(f"{store}: {one.verdict}", hint="Name a rank to take a path anyway.")
        better = [best.path for best in one.best if is_better(best)]
        return LayerPath(max(better, key=lambda path: path.score).layer_path)
    if not 0 < rank <= len(one.tried):
        raise UsageError(f"{store}: there is no rank {rank} among {len(one.tried)} paths")
    return LayerPath(one.tried[rank - 1].layer_path)


def _findings(scans: ScanTable, kept: KeptSearch) -> SearchFindings:
    from ggufsurgeon.scanning.search.judging import SearchData, judge_search
    from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits

    items = SearchItems.of_settings(kept.scores.settings) or SearchItems()
    data = SearchData(
        name=kept.scores.name,
        unit=kept.scores.unit,
        n_items=len(kept.scores.items()),
        n_blocks=scans.models()[kept.model].n_blocks,
        scores=kept.scores.scores(),
        scan_scores=kept.scan.scores(),
        paths={path.layer_path: path for path in scans.paths(kept.model)},
        limits=SearchLimits.of_settings(kept.settings),
        items=items,
        singles=kept.settings["singles"],
        n_bytes_read=kept.n_bytes_read,
    )
    return judge_search(data)
