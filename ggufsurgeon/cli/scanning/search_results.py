"""Tables and JSON of what a search found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.serializers import estimate_as_json
from ggufsurgeon.cli.output.terminal import print_table, print_text
from ggufsurgeon.cli.scanning.scan_results import bytes_text, difference_text, print_verdict
from ggufsurgeon.reporting.lettering import counted

if TYPE_CHECKING:
    from ggufsurgeon.scanning.search.findings import BestOfLength, SearchFindings, TriedPath

COLUMNS = (
    *("blocks", "layer path", "score", "search", "held out", "p"),
    *("weights", "KV cache", "tokens/s"),
)


def print_search(found: SearchFindings, model: str) -> None:
    """The best path of each length, what luck reaches, and the verdict."""
    limits = found.limits
    title = (
        f"{model}, {found.probe}: {counted(len(found.tried), 'path')} run, with at most "
        f"{counted(limits.max_blocks, 'added block')}, combined from {found.n_singles} of "
        f"{found.n_scanned} windows; {found.n_search} search and {found.n_held_out} held-out "
        f"items; differences from the unmodified model in {found.unit}"
    )
    print_table(title, COLUMNS, [_row(best) for best in found.best])
    print_text("score: the mean difference on the search items less its standard error")
    if any(best.is_on_front for best in found.best):
        print_text("* no path, nor the unmodified model, has a higher score at no greater cost")
    if found.luck is not None:
        print_text(
            f"By chance alone, the best path of such a search has a score above "
            f"{found.luck.score:+.4g} in 5 % of searches; p = {found.luck.p_value:.2g} for the "
            f"best score here ({found.luck.n_replays} replays with random signs)."
        )
    if math.isfinite(found.held_out_luck_z):
        print_text(
            f"By chance alone, {_of_these(len(found.best))} exceeds "
            f"{found.held_out_luck_z:.2f} standard errors on the held-out items in 5 % of searches."
        )
    print_verdict(found.verdict)


def _of_these(n_paths: int) -> str:
    return "this path" if n_paths == 1 else f"the best of these {n_paths} paths"


def _row(best: BestOfLength) -> tuple[str, ...]:
    path = best.path
    cache = path.cost.n_bytes_kv
    return (
        f"{path.cost.n_blocks:+d}{' *' if best.is_on_front else ''}",
        path.layer_path,
        f"{path.score:+.4g}",
        difference_text(path.search),
        difference_text(best.held_out),
        "-" if best.p_value is None else f"{best.p_value:.2g}",
        bytes_text(path.cost.n_bytes_weights),
        "-" if cache is None else bytes_text(cache),
        f"{path.relative_speed:.2f} x",
    )


def search_as_json(found: SearchFindings) -> dict[str, Any]:
    """All that a search found."""
    luck = found.luck
    return {
        "probe": found.probe,
        "unit": found.unit,
        "max_blocks": found.limits.max_blocks,
        "beam": found.limits.beam,
        "max_paths": found.limits.max_paths,
        "strengths": list(found.limits.strengths),
        "n_search": found.n_search,
        "n_held_out": found.n_held_out,
        "n_windows": found.n_scanned,
        "n_composed": found.n_singles,
        "is_better": found.is_better,
        "verdict": found.verdict,
        "luck_score": None if luck is None else luck.score,
        "luck_p_value": None if luck is None else luck.p_value,
        "held_out_luck_z": found.held_out_luck_z if math.isfinite(found.held_out_luck_z) else None,
        "best": [
            {
                **_tried_as_json(best.path),
                "held_out": None if best.held_out is None else estimate_as_json(best.held_out),
                "p_value": best.p_value,
                "is_on_front": best.is_on_front,
            }
            for best in found.best
        ],
        "tried": [_tried_as_json(path) for path in found.tried],
    }


def _tried_as_json(path: TriedPath) -> dict[str, Any]:
    return {
        "layer_path": path.layer_path,
        "n_blocks": path.cost.n_blocks,
        "score": path.score,
        "search": estimate_as_json(path.search),
        "n_bytes_weights": path.cost.n_bytes_weights,
        "n_bytes_kv": path.cost.n_bytes_kv,
        "relative_speed": path.relative_speed,
    }
