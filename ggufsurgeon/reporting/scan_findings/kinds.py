"""Which paths of a store a probe's scan was about: several scans may have shared the store."""

from __future__ import annotations

from dataclasses import replace

from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_findings.words import State, state_of
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings


def of_its_scan(probe: ProbeFindings) -> ProbeFindings:
    """The findings without the kinds of paths that this probe has no score of, as others have.

    A probe that has no score at all keeps them: its scan has only begun.
    """
    absent = _absent_kinds(probe)
    return replace(probe, paths=tuple(path for path in probe.paths if path.kind not in absent))


def not_of_its_scan(probe: ProbeFindings) -> str:
    """A sentence on the paths that `of_its_scan` leaves out; empty where there are none."""
    n = len(probe.paths) - len(of_its_scan(probe).paths)
    verb = "was" if n == 1 else "were"
    return f"{counted(n, 'other path')} of the store {verb} not scanned by this probe." if n else ""


def _absent_kinds(probe: ProbeFindings) -> set[str]:
    """The kinds that have paths without a score, and none with one, where others have some."""
    by_state: dict[State, set[str]] = {state: set() for state in State}
    for path in probe.paths:
        by_state[state_of(path)].add(path.kind)
    scored = by_state[State.SCORED]
    return by_state[State.MISSING] - scored if scored else set()
