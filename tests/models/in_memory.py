"""Files and plans in memory: planning is pure, so its tests need no disk."""

from __future__ import annotations

from pathlib import Path

from ggufsurgeon.container.codec import parse_header
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.header import Header
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.write_plan import CopySpan, GatherSpan, WritePlan
from tests.writing.plans import gathered


def opened(data: bytes) -> GgufFile:
    """A file that is only in memory."""
    header, n_bytes = parse_header(data, "memory")
    layout = lay_out(header, n_bytes, len(data), "memory")
    return GgufFile(Path("memory"), header, n_bytes, "0" * 64, layout)


def run(plan: WritePlan, data: bytes) -> bytes:
    """What writing makes of a plan, in memory."""
    pieces = [plan.header]
    for span in plan.spans:
        if isinstance(span, GatherSpan):
            pieces.append(gathered(data[span.offset_in_file :], span))
        elif isinstance(span, CopySpan):
            pieces.append(data[span.offset_in_file :][: span.n_bytes])
        else:
            pieces.append(bytes(span.n_bytes))
    return b"".join(pieces)


def patched_header(data: bytes, path: LayerPath) -> Header:
    """The header that a patch of `data` would have."""
    return parse_header(plan_patch(opened(data), path).write_plan.header, "patched")[0]
