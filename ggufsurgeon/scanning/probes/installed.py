"""Probes of other packages, found by the entry-point group `ggufsurgeon.probes`.

An entry point names a function that makes a probe of a text, whose meaning is its own:

    [project.entry-points."ggufsurgeon.probes"]
    rhymes = "my_package.rhymes:probe"
"""

from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint, entry_points

from ggufsurgeon.errors import GgufSurgeonError, UsageError
from ggufsurgeon.scanning.probes.answers import AnswerProbe, AnyProbe
from ggufsurgeon.scanning.probes.probe import Probe

GROUP = "ggufsurgeon.probes"


def installed_probe(name: str, text: str) -> AnyProbe:
    """The probe that the entry point of this name makes of a text.

    Raises UsageError for a name that no package has, or several, for a function that fails, and
    for a result that is no probe or cannot be sent to another process.
    """
    found = _entry_point(name)
    try:
        probe = found.load()(text)
        pickle.dumps(probe)
    except GgufSurgeonError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise UsageError(f"probe {name} ({found.value}) failed: {kind}: {error}") from error
    if not isinstance(probe, Probe | AnswerProbe):
        kind = type(probe).__name__
        raise UsageError(
            f"probe {name} ({found.value}): its function gave a value of type {kind}, which "
            "lacks what a Probe or an AnswerProbe has"
        )
    return probe


def _entry_point(name: str) -> EntryPoint:
    known = {(one.name, one.value): one for one in entry_points(group=GROUP)}
    found = [one for one in known.values() if one.name == name]
    if not found:
        names = ", ".join(sorted({one.name for one in known.values()}))
        raise UsageError(
            f"no probe has this name: {name}",
            hint=f"The installed probes are {names}." if names else "No probe is installed.",
        )
    if len(found) > 1:
        places = ", ".join(sorted(one.value for one in found))
        raise UsageError(f"probe {name}: several packages have one of this name: {places}")
    return found[0]
