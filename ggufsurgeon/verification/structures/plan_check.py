"""Whether a patched file is the one that a plan makes, by what its header records."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.planning.planner import PatchPlan
from ggufsurgeon.planning.provenance import FILLER, PREFIX
from ggufsurgeon.verification.checks import Check

FREE = frozenset({f"{PREFIX}tool", FILLER, *SPLIT_KEYS})
"""Keys that may differ: versions of the program record themselves, and shards have keys."""
BLOCKS = f"{PREFIX}blocks"


def check_plan(patched: GgufFile, planned: PatchPlan, name: str) -> Check:
    """Whether all pairs of a file are those of a plan; `name` is that of the check."""
    wrong = list(_wrong_pairs(patched, planned))
    if wrong:
        return Check(name, False, "; ".join(wrong[:5]))
    return Check(name, True, f"layer path {planned.path}, and all pairs", f"the {name}")


def _wrong_pairs(patched: GgufFile, planned: PatchPlan) -> Iterator[str]:
    header, _ = parse_header(planned.write_plan.header, "plan")
    expected, found = header.pair_of, patched.header.pair_of
    if BLOCKS in expected and patched.header.get(BLOCKS) != header.get(BLOCKS):
        yield f"its layer path is not {planned.path}"
        return
    for key in sorted((expected.keys() | found.keys()) - FREE):
        if key not in found or key not in expected or found[key].raw != expected[key].raw:
            yield f"{key} differs"
