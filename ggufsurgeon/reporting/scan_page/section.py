"""The section of a probe: its verdict, and all that can be drawn of its paths."""

from __future__ import annotations

from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_page.ablation import ablation, single_drops
from ggufsurgeon.reporting.scan_page.heatmap import heatmap
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.scan_page.ranking import ranking
from ggufsurgeon.reporting.scan_words import (
    HEADINGS,
    State,
    has_map,
    joint_note,
    ranked,
    state_of,
)
from ggufsurgeon.scanning.findings import ProbeFindings, ScanFindings

COPY = element("button", "Copy", type="button", class_="copy")
"""Copies the code before it."""


def section_id(number: int) -> str:
    """The anchor of a probe's section."""
    return f"probe-{number}"


def section(findings: ScanFindings, number: int) -> str:
    """All of a probe; the script fills what is chosen, and its items."""
    probe = findings.probes[number]
    name = section_id(number)
    parts = [
        element("h2", escape(probe.probe), id=f"{name}-title"),
        _verdict(probe),
        element("p", escape(_counts(probe)), class_="facts"),
        *[element("p", escape(note), class_="facts") for note in probe.notes],
        _maps(probe, findings.n_blocks),
        _items(f"{name}-items", "probe" if probe.is_joint else "item"),
        _ranking(probe),
        _ablation(probe, findings.n_blocks),
    ]
    return element("section", *parts, id=name, data_probe=number, aria_labelledby=f"{name}-title")


def _verdict(probe: ProbeFindings) -> str:
    side = "is-better" if probe.is_better else "is-open"
    return element("p", escape(probe.verdict), class_=f"verdict {side}")


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
            heatmap(probe.paths, kind, n_blocks, probe.unit, title),
        )
        for kind, title in HEADINGS.items()
        if has_map(probe.paths, kind)
    ]
    readout = element("div", READOUT_HINT, class_="readout")
    return element("div", *figures, readout, class_="maps")


READOUT_HINT = element("p", "Point at a cell, or tap it, for its figures.")


def _items(name: str, what: str) -> str:
    names = (what, "base", "difference", "")
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
        "Mean ± 2 standard errors: ● on the search items, □ on the held-out items. "
        f"{_race_note() if probe.is_race else _luck_note(probe)} Weights, KV cache and blocks: "
        "what the path needs in addition to the model."
    )
    everything = element("button", f"Show all {len(probe.paths):,} paths", type="button")
    return "".join(
        [
            element("h3", "Ranking"),
            element("p", escape(note), class_="note"),
            ranking(probe),
            element("div", everything, class_="everything"),
        ]
    )


def _luck_note(probe: ProbeFindings) -> str:
    return (
        "Grey: the 5 % bound. By chance alone, the best of all paths exceeds it in 5 % of scans: "
        f"{probe.luck_z:.2f} standard errors. z: the search difference in standard errors. p: "
        "family-wise p-value over all items."
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
    return element("h3", "Each block dropped") + ablation(drops, n_blocks, probe.unit)
