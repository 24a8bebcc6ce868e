"""What a scan would have found, of differences made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ggufsurgeon.scanning.verdicts.findings import (
    PathCost,
    PathFinding,
    ProbeFindings,
    ScanFindings,
)
from ggufsurgeon.statistics.estimate import mean_of

HOSTILE = "</script><script>alert(1)</script><!--&\"'"


def scan(
    n_blocks: int = 12,
    n_items: int = 10,
    kinds: str = "window drop",
    n_probes: int = 1,
    seed: int = 0,
) -> ScanFindings:
    """Every window of some kinds; the middle ones help a little, early and late ones ruin."""
    probes = [probe(n_blocks, n_items, kinds, seed + k) for k in range(n_probes)]
    return ScanFindings("model-Q4_K_M.gguf", "0" * 64, "llama", n_blocks, tuple(probes))


def probe(n_blocks: int, n_items: int, kinds: str, seed: int) -> ProbeFindings:
    generator = np.random.default_rng(seed)
    is_held_out = tuple(k % 3 == 2 for k in range(n_items))
    paths = [
        scored(kind, first, end, n_blocks, is_held_out, generator)
        for kind in kinds.split()
        for first in range(n_blocks)
        for end in range(first + 1, n_blocks + 1)
        if kind == "window" or end - first < n_blocks
    ]
    paths.sort(key=lambda path: -(path.z or 0))
    best = paths[0]
    return ProbeFindings(
        probe=f"text {seed}",
        unit="nats per token",
        item_labels=tuple(f"item {k}" for k in range(n_items)),
        item_bases=tuple(-generator.gamma(3, 1, n_items)),
        is_held_out=is_held_out,
        paths=tuple(paths),
        luck_z=3.4,
        is_better=best.p_value is not None and best.p_value < 0.05,
        verdict=f"Running blocks {best.layer_path} is better than the model on this text.",
    )


def scored(
    kind: str,
    first: int,
    end: int,
    n_blocks: int,
    is_held_out: tuple[bool, ...],
    generator: np.random.Generator,
) -> PathFinding:
    middle, length = (first + end) / 2 / n_blocks, (end - first) / n_blocks
    harm = 0.03 + 4 * abs(middle - 0.55) ** 3 + 2 * length**3 + 8 * (first == 0)
    gain = 0.12 * np.exp(-(((middle - 0.55) / 0.12) ** 2) - ((length - 0.2) / 0.12) ** 2)
    effect = gain * (kind == "window") - harm
    differences = effect + generator.normal(0, 0.03 + 0.4 * abs(effect), len(is_held_out))
    search = mean_of([d for d, held in zip(differences, is_held_out, strict=True) if not held])
    held_out = mean_of([d for d, held in zip(differences, is_held_out, strict=True) if held])
    z = search.value / search.error if search.error else None
    repeats = (end - first) * (1 if kind == "window" else -1)
    return PathFinding(
        layer_path=layer_path(kind, first, end, n_blocks),
        kind=kind,
        first=first,
        end=end,
        differences=tuple(map(float, differences)),
        search=search,
        held_out=held_out,
        z=z,
        p_value=min(1.0, float(np.exp(-(max(z or 0, 0) ** 2) / 4))),
        cost=PathCost(repeats * 88_000_000, repeats * 8_388_608, repeats),
    )


def layer_path(kind: str, first: int, end: int, n_blocks: int) -> str:
    back = (0, end, first, n_blocks) if kind == "window" else (0, first, end, n_blocks)
    runs = [(back[0], back[1]), (back[2], back[3])]
    return ",".join(f"{a}..{b - 1}" if b - a > 1 else f"{a}" for a, b in runs if b > a)


def unscored(path: PathFinding, problem: str) -> PathFinding:
    return replace(
        path, differences=(), search=None, held_out=None, z=None, p_value=None, problem=problem
    )


REFUSED, PLANNED, ABSENT, NOT_WRITABLE = (0, 3), (1, 4), (2, 5), (3, 6)
"""Windows of `with_gaps`."""


def with_gaps(findings: ScanFindings) -> ScanFindings:
    """One window refused, one not scanned yet, one that is absent, and one that has no file."""
    (found,) = findings.probes
    paths = {(path.kind, path.first, path.end): path for path in found.paths}
    refused, planned = paths.pop(("window", *REFUSED)), paths.pop(("window", *PLANNED))
    paths.pop(("window", *ABSENT))
    kept = ("window", *NOT_WRITABLE)
    paths[kept] = replace(paths[kept], not_writable="the count of heads differs")
    last = unscored(refused, "blocks 0 and 1 share a cache"), unscored(planned, "not scanned yet")
    return replace(findings, probes=(replace(found, paths=(*paths.values(), *last)),))


def hostile_scan(text: str) -> ScanFindings:
    """A scan with this text wherever a name, a path or a reason may be."""
    findings = with_gaps(scan(6, 5))
    (probe,) = findings.probes
    paths = tuple(
        replace(
            path,
            layer_path=text,
            problem=path.problem and text,
            not_writable=path.not_writable and text,
        )
        for path in probe.paths
    )
    bad = replace(probe, probe=text, unit=text, verdict=text, item_labels=(text,) * 5, paths=paths)
    return replace(findings, model=text, architecture=text, probes=(bad, bad))
