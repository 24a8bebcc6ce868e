"""The section of a probe: its verdict, and all that can be drawn of its paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_findings.kinds import not_of_its_scan, of_its_scan
from ggufsurgeon.reporting.scan_findings.single_drops import single_drops
from ggufsurgeon.reporting.scan_findings.words import (
    HEADINGS,
    State,
    has_map,
    joint_note,
    luck_text,
    measure,
    ranked,
    state_of,
    verdict_text,
)
from ggufsurgeon.reporting.scan_page.ablation import ablation
from ggufsurgeon.reporting.scan_page.heatmap import heatmap
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.scan_page.ranking import N_BEST, N_WORST, ranking
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings, ScanFindings

COPY = element("button", "Copy", type="button", class_="copy")
"""Copies the code before it."""
COLUMNS: Final = ("item", "base", "difference", "")
JOINT_COLUMNS: Final = ("probe", "z on its search items")


def section_id(number: int) -> str:
    """The anchor of a probe's section."""
    return f"probe-{number}"


def section(findings: ScanFindings, number: int) -> str:
    """All of a probe; the script fills what is chosen, and its items."""
    whole = findings.probes[number]
    probe = of_its_scan(whole)
    name = section_id(number)
    parts = [
        element("h2", escape(probe.probe), id=f"{name}-title"),
        _verdict(probe),
        element("p", escape(_counts(probe)), class_="facts"),
        *[element("p", escape(note), class_="facts") for note in probe.notes],
        _note(not_of_its_scan(whole)),
        _maps(probe, findings.n_blocks),
        _items(f"{name}-items", JOINT_COLUMNS if probe.is_joint else COLUMNS),
        _ranking(probe),
        _ablation(probe, findings.n_blocks),
    ]
    return element("section", *parts, id=name, data_probe=number, aria_labelledby=f"{name}-title")


def _verdict(probe: ProbeFindings) -> str:
    side = "is-better" if probe.is_better else "is-open"
    return element("p", escape(verdict_text(probe)), class_=f"verdict {side}")


def _note(text: str) -> str:
    return element("p", escape(text), class_="note") if text else ""


def _counts(probe: ProbeFindings) -> str:
    n_held_out = sum(probe.is_held_out)
    n_items = len(probe.item_labels)
    states = [state_of(path) for path in probe.paths]
    parts = [counted(states.count(State.SCORED), "path") + " scored"]
    n_left = sum(bool(path.left_race) for path in probe.paths)
    parts += [f"{n_left:,} of them on fewer items"] if n_left else []
    parts += [
        f"{states.count(state):,} {state.value}"
        for state in (State.UNSCORED, State.MISSING)
        if state in states
    ]
    if probe.is_joint:
        return f"{', '.join(parts)}; {joint_note(probe)}"
    items = f"{n_items - n_held_out:,} search and {n_held_out:,} held-out items"
    return f"{', '.join(parts)}; {items}; scores in {probe.unit}"


def _maps(probe: ProbeFindings, n_blocks: int) -> str:
    figures = [
        element(
            "figure",
            element("h3", escape(title)),
            heatmap(probe.paths, kind, n_blocks, measure(probe), title),
        )
        for kind, title in HEADINGS.items()
        if has_map(probe.paths, kind)
    ]
    readout = element("div", READOUT_HINT, class_="readout")
    return element("div", *figures, readout, class_="maps")


READOUT_HINT = element("p", "Point at a cell, or tap it, for its figures.")


def _items(name: str, names: Sequence[str]) -> str:
    head = element("tr", *[element("th", escape(each), scope="col") for each in names])
    table = element("table", element("thead", head), element("tbody"))
    return element(
        "div",
        element("h3", "Items", tabindex=-1, aria_live="polite"),
        element("p", class_="path"),
        element("div", element("code"), COPY, class_="command"),
        element("p", class_="remark"),
        element("div", table, class_="scroll", tabindex=0, role="region", aria_label="items"),
        id=name,
        class_="items",
        hidden=True,
    )


def _ranking(probe: ProbeFindings) -> str:
    n_scored = len(ranked(probe.paths))
    if not n_scored:
        return ""
    note = (
        f"{'Joint z' if probe.is_joint else 'Mean'} ± 2 standard errors: ● on the search items, "
        "□ on the held-out items. "
        f"{_race_note() if probe.is_race else _luck_note(probe)} Weights, KV cache and blocks: "
        "what the path needs in addition to the model."
    )
    return "".join(
        [
            element("h3", "Ranking"),
            _note(note),
            ranking(probe),
            _everything(probe, n_scored),
        ]
    )


def _everything(probe: ProbeFindings, n_scored: int) -> str:
    """The button that lists all paths, unless the ranking has them all."""
    if n_scored == len(probe.paths) and n_scored <= N_BEST + N_WORST:
        return ""
    button = element("button", f"Show all {len(probe.paths):,} paths", type="button")
    return element("div", button, class_="everything")


def _luck_note(probe: ProbeFindings) -> str:
    z = "the joint z" if probe.is_joint else "the search difference in standard errors"
    return (
        "Grey: the 5 % bound. By chance alone, the best of all paths exceeds it in 5 % of scans: "
        f"{luck_text(probe.luck_z)} standard errors. z: {z}. "
        "p: family-wise p-value over all items. As z is over the search items alone, rank 1 can "
        "have a larger p than rank 2, and a point beyond the grey bar can be noise."
    )


def _race_note() -> str:
    return (
        "A race: paths without z have left it, and their means are of fewer items. z: standard "
        "errors above 0 on all search items. The best path is judged by the held-out items alone."
    )


def _ablation(probe: ProbeFindings, n_blocks: int) -> str:
    drops = single_drops(probe.paths)
    if not drops:
        return ""
    return element("h3", "Each block dropped") + ablation(drops, n_blocks, measure(probe))
