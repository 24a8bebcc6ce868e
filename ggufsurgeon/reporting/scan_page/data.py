"""What the script of the page knows: figures as texts, and differences of items as numbers."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.container.shell_words import shell_command
from ggufsurgeon.reporting.scan_findings.kinds import of_its_scan
from ggufsurgeon.reporting.scan_findings.words import (
    cost_texts,
    estimate_text,
    p_text,
    path_name,
    remark,
    state_of,
    z_text,
)
from ggufsurgeon.scanning.verdicts.findings import PathFinding, ProbeFindings, ScanFindings


def scan_data(findings: ScanFindings) -> str:
    """JSON that can stand in a script element whatever names and labels hold."""
    data = {
        "model": shell_command(Path(findings.model)),
        "probes": [_probe(probe) for probe in findings.probes],
    }
    text = json.dumps(_printable(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _printable(value: Any) -> Any:
    """The value with control characters escaped, also for texts that are pasted into a terminal."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, (list, tuple)) else value


def _probe(probe: ProbeFindings) -> dict[str, Any]:
    return {
        "unit": probe.unit,
        "isJoint": probe.is_joint,
        "labels": probe.item_labels,
        "bases": [_rounded(base) for base in probe.item_bases],
        "heldOut": [int(held_out) for held_out in probe.is_held_out],
        "paths": [_path(path) for path in of_its_scan(probe).paths],
    }


def _path(path: PathFinding) -> dict[str, Any]:
    return {
        "name": path_name(path),
        "layers": path.layer_path,
        "argument": _quoted(path.layer_path),
        "state": state_of(path).value,
        "search": estimate_text(path.search),
        "heldOut": estimate_text(path.held_out),
        "z": z_text(path.z),
        "p": p_text(path.p_value),
        "cost": cost_texts(path),
        "remark": remark(path),
        "notWritable": path.not_writable,
        "differences": [_rounded(each) for each in path.differences],
    }


def _rounded(value: float) -> float | None:
    """Four digits: no more are read, and a large scan has hundreds of thousands of them."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _quoted(layer_path: str) -> str:
    """In double quotes, as in the documentation, unless a shell would find something in it."""
    is_plain = re.fullmatch(r"[\w.,: -]*", layer_path, re.ASCII)
    return f'"{layer_path}"' if is_plain else shlex.quote(layer_path)
