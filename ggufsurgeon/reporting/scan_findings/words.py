"""The paths of a scan in words and figures, as its page and its picture write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from ggufsurgeon.reporting.lettering import MINUS, with_error
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings
from ggufsurgeon.statistics.estimate import Estimate
from ggufsurgeon.statistics.maximum import LEVEL

NONE: Final = "\N{EN DASH}"
"""In place of a figure that there is none of."""
HEADINGS: Final = {"window": "Windows that run twice or more", "drop": "Windows that are dropped"}
"""Headings of the maps, by kind of path."""
ON_FEWER_ITEMS: Final = "scored on fewer items of the race"
"""What is told of paths that have left a race."""
MOST_Z: Final = 1000
"""Standard errors beyond which no figure is written: differences that hardly differ among items."""


class State(Enum):
    """What is known of a path."""

    SCORED = "scored"
    UNSCORED = "without a score"
    """Refused, or its scores are not numbers."""
    MISSING = "not scanned yet"


def state_of(path: PathFinding) -> State:
    """The state of a path; one whose mean is no finite number has no score that can be drawn."""
    if path.search is not None and math.isfinite(path.search.value):
        return State.SCORED
    return State.MISSING if path.problem.startswith(State.MISSING.value) else State.UNSCORED


def ranked(paths: Sequence[PathFinding]) -> list[tuple[int, PathFinding]]:
    """The paths that can be drawn, in their order, each with its index in `paths`."""
    return [(k, path) for k, path in enumerate(paths) if state_of(path) is State.SCORED]


def has_map(paths: Sequence[PathFinding], kind: str) -> bool:
    """Whether windows of a kind make a map: neither unscanned ones nor single dropped blocks."""
    least = 2 if kind == "drop" else 1
    return any(
        path.kind == kind
        and state_of(path) is not State.MISSING
        and path.first is not None
        and path.end is not None
        and path.end - path.first >= least
        for path in paths
    )


def is_significant(path: PathFinding) -> bool:
    """Whether a path is better than luck alone explains."""
    return path.p_value is not None and path.p_value < LEVEL


def path_name(path: PathFinding) -> str:
    """A short name: `3:7` of a window, `drop 3:7`, or the layer path itself."""
    if path.first is None or path.end is None:
        return path.layer_path
    window = f"{path.first}:{path.end}"
    return f"drop {window}" if path.kind == "drop" else window


def verdict_text(probe: ProbeFindings) -> str:
    """The verdict, with the short name beside the layer path: `drop 2:3 (0..1,3..4) is better`."""
    if not probe.paths:
        return probe.verdict
    best = probe.paths[0]
    name, layer_path = path_name(best), best.layer_path
    if name == layer_path or f"{name} (" in probe.verdict:
        return probe.verdict
    place = rf"(?<![\w.,]){re.escape(layer_path)}(?=,? is )"
    return re.sub(place, lambda _: f"{name} ({layer_path})", probe.verdict, count=1)


def remark(path: PathFinding) -> str:
    """Why there is no score, or no file, or when it left a race; empty for most paths."""
    return "; ".join(each for each in (path.problem, path.left_race, path.not_writable) if each)


def measure(probe: ProbeFindings) -> str:
    """What is drawn of a path, with its unit."""
    return "joint z" if probe.is_joint else f"mean difference, {probe.unit}"


def joint_note(probe: ProbeFindings) -> str:
    """What the ranking by several probes is."""
    names = " + ".join(probe.item_labels)
    return (
        f"z of {names}, each in its own standard errors, added and divided by "
        f"√{len(probe.item_labels)} (Stouffer); probes weigh the same"
    )


def estimate_text(estimate: Estimate | None) -> str:
    """A difference with its sign and, where it has one, its standard error."""
    if estimate is None:
        return NONE
    if estimate.error is None:
        return f"{estimate.value:+.4g}".replace("-", MINUS)
    return with_error(estimate.value, estimate.error, sign="+")


def z_text(z: float | None) -> str:
    """Standard errors above 0."""
    if z is None:
        return NONE
    if abs(z) > MOST_Z:
        return f"> {MOST_Z}" if z > 0 else f"< {MINUS}{MOST_Z}"
    return f"{z:+.2f}".replace("-", MINUS)


def luck_text(luck_z: float) -> str:
    """The 5 % bound in standard errors."""
    return f"> {MOST_Z}" if luck_z > MOST_Z else f"{luck_z:.2f}"


def p_text(p_value: float | None) -> str:
    """A probability to two digits."""
    if p_value is None:
        return NONE
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.2g}"


def bytes_more(n_bytes: int | None) -> str:
    """Bytes more or less, in SI units to three digits, such as `+1.63 GB`."""
    if n_bytes is None:
        return NONE
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(n_bytes) >= size:
            n_decimals = max(0, 2 - math.floor(math.log10(abs(n_bytes) / size)))
            return f"{n_bytes / size:+.{n_decimals}f} {unit}".replace("-", MINUS)
    return f"{n_bytes:+d} B".replace("-", MINUS) if n_bytes else "0 B"


def count_text(n: int) -> str:
    """A count more or less."""
    return f"{n:+d}".replace("-", MINUS) if n else "0"


def cost_texts(path: PathFinding) -> tuple[str, str, str]:
    """What a path takes beside the model: weights, KV cache, blocks."""
    if path.cost is None:
        return NONE, NONE, NONE
    cost = path.cost
    weights, cache = bytes_more(cost.n_bytes_weights), bytes_more(cost.n_bytes_kv)
    return weights, cache, count_text(cost.n_blocks)
