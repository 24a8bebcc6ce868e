"""Tables, maps, and JSON of what a scan found."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.serializers import estimate_as_json
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_table, print_text
from ggufsurgeon.cli.scanning.scan_maps import print_bars, print_maps
from ggufsurgeon.reporting.lettering import MINUS, counted
from ggufsurgeon.reporting.scan_findings.kinds import not_of_its_scan, of_its_scan
from ggufsurgeon.reporting.scan_findings.words import joint_note, luck_text, verdict_text, z_text

if TYPE_CHECKING:
    from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings, ScanFindings
    from ggufsurgeon.statistics.estimate import Estimate

COLUMNS = ("layer path", "search", "held out", "z", "p", "weights", "KV cache")


def print_findings(found: ScanFindings, n_rows: int) -> None:
    """The best and the worst paths by each probe, with a map and the verdict."""
    for probe in found.probes:
        _print_probe(of_its_scan(probe), found, n_rows, not_of_its_scan(probe))


def _print_probe(probe: ProbeFindings, found: ScanFindings, n_rows: int, left_out: str) -> None:
    scored = [path for path in probe.paths if path.z is not None]
    title = (
        f"{found.model}, probe {probe.probe}: {len(scored)} of {counted(len(probe.paths), 'path')} "
        f"scored on {_items(probe)}; differences from the unmodified model in {probe.unit}"
    )
    if probe.is_joint:
        title = f"{found.model}, {counted(len(scored), 'path')} by all probes: {joint_note(probe)}"
    shown = scored[:n_rows] + scored[max(n_rows, len(scored) - 3) :]
    print_table(title, COLUMNS, [_row(path) for path in shown])
    print_maps(probe, found.n_blocks)
    print_bars(probe)
    if any(path.not_writable for path in shown):
        print_text("* can be run, but not written to a file")
    for left, n in _counted([path.left_race for path in probe.paths]):
        print_text(f"{counted(n, 'path')}: {left}")
    for problem, n in _counted([path.problem for path in probe.paths])[:5]:
        print_text(f"{n} without a score: {problem}")
    if math.isfinite(probe.luck_z):
        print_text(
            f"By chance alone, the best of {counted(len(scored), 'path')} exceeds "
            f"{luck_text(probe.luck_z)} standard errors in 5 % of scans."
        )
    if left_out:
        print_text(left_out)
    for note in probe.notes:
        print_text(note)
    print_verdict(verdict_text(probe))


def print_verdict(verdict: str) -> None:
    """Print a verdict, or the sentence that says why there is none, and an empty line."""
    is_none = verdict.startswith("No verdict")
    print_text(f"{verdict}\n" if is_none else f"Verdict: {verdict}\n")


def _items(probe: ProbeFindings) -> str:
    n_items, n_held_out = len(probe.item_labels), sum(probe.is_held_out)
    if probe.is_race:
        search = counted(n_items - n_held_out, "search item")
        return f"all {search} of a race, and {counted(n_held_out, 'held-out item')}"
    return f"{counted(n_items, 'item')}, {n_held_out} of them held out"


def _row(path: PathFinding) -> tuple[str, ...]:
    cost = path.cost
    return (
        f"{path.layer_path} *" if path.not_writable else path.layer_path,
        difference_text(path.search),
        difference_text(path.held_out),
        "-" if path.z is None else z_text(path.z).replace(MINUS, "-"),
        "-" if path.p_value is None else f"{path.p_value:.2g}",
        "-" if cost is None else bytes_text(cost.n_bytes_weights),
        "-" if cost is None or cost.n_bytes_kv is None else bytes_text(cost.n_bytes_kv),
    )


def difference_text(estimate: Estimate | None) -> str:
    """A difference with its sign and its standard error, to two digits of that."""
    if estimate is None:
        return "-"
    if not estimate.error:
        return f"{estimate.value:+.4g}"
    digits = max(0, 1 - math.floor(math.log10(estimate.error)))
    return f"{estimate.value:+.{digits}f} ± {estimate.error:.{digits}f}"


def bytes_text(n_bytes: int) -> str:
    """Bytes more or less, with their sign."""
    return ("-" if n_bytes < 0 else "+") + n_bytes_text(abs(n_bytes))


def _counted(texts: Sequence[str]) -> list[tuple[str, int]]:
    """How often each text is there, the most frequent first; empty ones are left out."""
    return Counter(text for text in texts if text).most_common()


def findings_as_json(found: ScanFindings) -> dict[str, Any]:
    """All findings of a model, without the differences of single items."""
    return {
        "model": found.model,
        "header_sha256": found.header_sha256,
        "content_sha256": found.content_sha256,
        "architecture": found.architecture,
        "n_blocks": found.n_blocks,
        "probes": [
            {
                "probe": probe.probe,
                "unit": probe.unit,
                "n_items": len(probe.item_labels),
                "n_held_out": sum(probe.is_held_out),
                "is_race": probe.is_race,
                "is_joint": probe.is_joint,
                "luck_z": probe.luck_z,
                "is_better": probe.is_better,
                "verdict": probe.verdict,
                "notes": list(probe.notes),
                "paths": [_path_as_json(path) for path in probe.paths],
            }
            for probe in found.probes
        ],
    }


def _path_as_json(path: PathFinding) -> dict[str, Any]:
    return {
        "layer_path": path.layer_path,
        "kind": path.kind,
        "window": None if path.first is None else [path.first, path.end],
        "search": estimate_as_json(path.search) if path.search else None,
        "held_out": estimate_as_json(path.held_out) if path.held_out else None,
        "z": path.z,
        "p_value": path.p_value,
        "problem": path.problem,
        "left_race": path.left_race,
        "not_writable": path.not_writable,
        "n_bytes_weights": path.cost.n_bytes_weights if path.cost else None,
        "n_bytes_kv": path.cost.n_bytes_kv if path.cost else None,
    }


def item_rows(all_findings: Sequence[ScanFindings]) -> Iterator[dict[str, Any]]:
    """A row for each item along each scored path, for tables of others."""
    for found in all_findings:
        for probe in found.probes:
            if probe.is_joint:  # its differences are not of items
                continue
            items = zip(probe.item_labels, probe.item_bases, probe.is_held_out, strict=True)
            named = list(enumerate(items))
            for path in probe.paths:
                for (number, (label, base, is_held_out)), difference in zip(
                    named, path.differences, strict=False
                ):
                    yield {
                        "model": found.model,
                        "header_sha256": found.header_sha256,
                        "probe": probe.probe,
                        "layer_path": path.layer_path,
                        "item": number,
                        "label": label,
                        "held_out": is_held_out,
                        "base_score": base,
                        "difference": difference,
                    }


FORMULA = re.compile(r"\s*[=+@-]|[\t\r]")
"""The start of a string that spreadsheets evaluate as a formula (OWASP, CSV injection)."""


def as_csv(all_findings: Sequence[ScanFindings]) -> str:
    """The rows of all items as CSV, with a head; a text that is a formula has a `'` before it."""
    stream = StringIO()
    rows = [
        {key: _no_formula(each) if isinstance(each, str) else each for key, each in row.items()}
        for row in item_rows(all_findings)
    ]
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _no_formula(text: str) -> str:
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{encodable}" if FORMULA.match(encodable) else encodable


def as_json_lines(all_findings: Sequence[ScanFindings]) -> str:
    """The rows of all items as lines of JSON."""
    return "".join(json.dumps(row) + "\n" for row in item_rows(all_findings))
