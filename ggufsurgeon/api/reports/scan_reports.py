"""What the scans in a store found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.api.reports.search_reports import searched_path, searched_probes
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import locate

if TYPE_CHECKING:
    from ggufsurgeon.scanning.verdicts.findings import ProbeFindings, ScanFindings
    from ggufsurgeon.scanning.verdicts.judging import Split
    from ggufsurgeon.store.scan_scores import ProbeScores, ScannedPath, ScanTable


def scan_findings(
    store: PathLike, *, held_out: float = 0.5, seed: int = 0
) -> tuple[ScanFindings, ...]:
    """The findings of each model that was scanned into a store.

    A share `held_out` of the items, drawn by `seed`, does not choose the best path, but judges it.
    A race has a share and a seed of its own, which were fixed before it. Scans by probes of one
    name, with other items or settings, are told apart by a number: `arithmetic`, `arithmetic 2`.
    Where several probes, other than races, have scored the same paths, a last one named `joint`
    ranks them by all: `joint_findings` says how; of probes of one name the first counts there.
    Raises UsageError for a file that is not there, RefusedError for one that is no store.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     gs.load("fixtures/stories260K.gguf") as model,
    ... ):
    ...     model.scan(f"{folder}/scan.db", ArithmeticProbe(12), [gs.drop("0:1")])
    ...     (found,) = gs.scan_findings(f"{folder}/scan.db")
    >>> found.model, found.probes[0].probe, found.probes[0].is_better
    ('stories260K.gguf', 'arithmetic', False)
    """
    from ggufsurgeon.store.store import readable_store

    if not 0 < held_out < 1:
        raise UsageError(
            f"a share of {held_out} held-out items: expected one between 0 and 1, but neither"
        )
    path = Path(store)
    if not path.exists():
        raise UsageError(f"{path}: there is no such store")
    with readable_store(path) as opened:
        models = opened.scans.models()
        return tuple(_findings(opened.scans, number, held_out, seed) for number in models)


def scanned_path(
    store: PathLike, model: PathLike, *, probe: str | None = None, rank: int | None = None
) -> LayerPath:
    """The best layer path of a scan of `model`, or that of a rank, counted from 1.

    `probe` is the name of a probe, that of a search such as `text-search`, or `joint` for all
    scans together; it can be omitted if there is only one, not counting those of parsed answers.
    Raises RefusedError when the verdict on the best is noise and no rank is given, UsageError where
    the store has no such scan or rank, and as `scan_findings`.
    """
    file = locate(model).file
    known = [one for one in scan_findings(store) if one.header_sha256 == file.header_sha256]
    probes = [one for found in known for one in found.probes if _is_wanted(one, probe)]
    if not probes and probe is not None:
        path = searched_path(store, file.header_sha256, probe, rank)
        if path is not None:
            return path
    wanted = "" if probe is None else f" by the probe {probe}"
    if not probes:
        names = [one.probe for found in known for one in found.probes]
        names += searched_probes(store, file.header_sha256)
        raise UsageError(
            f"{store}: it has no scan of {model}{wanted}",
            hint=f"It has scans of it by: {', '.join(names)}." if names else "",
        )
    if len(probes) > 1:
        names = list(dict.fromkeys(one.probe for one in probes))
        raise UsageError(
            f"{store}: it has {len(probes)} scans of {model}{wanted}, "
            f"by {', '.join(names)}: name one"
        )
    (found,) = probes
    if rank is None and not found.is_better:
        raise RefusedError(f"{store}: {found.verdict}", hint="Name a rank to take a path anyway.")
    scored = [path for path in found.paths if path.z is not None]
    if not 0 < (rank or 1) <= len(scored):
        raise UsageError(f"{store}: there is no rank {rank} among {len(scored)} scored paths")
    return LayerPath(scored[(rank or 1) - 1].layer_path)


def _is_wanted(found: ProbeFindings, probe: str | None) -> bool:
    from ggufsurgeon.scanning.probes.answers import PARSED_SUFFIX

    if probe is None:
        return PARSED_SUFFIX not in found.probe and not found.is_joint
    return found.probe == probe


def _findings(scans: ScanTable, number: int, held_out: float, seed: int) -> ScanFindings:
    from ggufsurgeon.scanning.probes.answers import PARSED_SUFFIX
    from ggufsurgeon.scanning.search.limits import SearchItems
    from ggufsurgeon.scanning.verdicts.findings import ScanFindings
    from ggufsurgeon.scanning.verdicts.joint import joint_findings
    from ggufsurgeon.scanning.verdicts.judging import Split

    model, paths = scans.models()[number], scans.paths(number)
    judging = _Judging(paths, model.n_blocks, Split(held_out, seed))
    probes: list[ProbeFindings] = []
    joined: list[ProbeFindings] = []
    counts: Counter[str] = Counter()
    for probe in scans.probes(number):
        if SearchItems.of_settings(probe.settings) is not None:
            continue  # its paths were chosen by their scores
        counts[probe.name] += 1
        nth = counts[probe.name]
        found, is_race = judging.judged(probe, probe.name if nth == 1 else f"{probe.name} {nth}")
        probes.append(found)
        if not is_race and nth == 1 and PARSED_SUFFIX not in found.probe:
            joined.append(found)
    joint = joint_findings(joined, seed)
    if joint is not None:
        probes.append(joint)
    return ScanFindings(
        model.file_name,
        scans.fingerprint(number).header_sha256,
        model.architecture,
        model.n_blocks,
        tuple(probes),
        scans.content_sha256(number),
    )


class _Judging(NamedTuple):
    """The paths of a model, and the items that judge the best of them."""

    paths: Sequence[ScannedPath]
    n_blocks: int
    split: Split

    def judged(self, probe: ProbeScores, name: str) -> tuple[ProbeFindings, bool]:
        """The findings of a probe, and whether they are those of a race."""
        from ggufsurgeon.scanning.racing.judging import judge_race
        from ggufsurgeon.scanning.racing.race import Race
        from ggufsurgeon.scanning.verdicts.judging import ProbeData, judge

        labels = [item.label for item in probe.items()]
        data = ProbeData(name, probe.unit, labels, probe.scores())
        asked = probe.asked_paths()
        paths = [path for path in self.paths if not asked or path.layer_path in asked]
        race = Race.of_settings(probe.settings)
        if race is None:
            return judge(data, paths, self.n_blocks, self.split), False
        return judge_race(data, paths, self.n_blocks, race), True
