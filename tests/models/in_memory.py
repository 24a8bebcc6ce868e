"""Files and plans in memory: planning is pure, so its tests need no disk."""

from __future__ import annotations

from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile, read_gguf
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.layout import pad
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.write_plan import CopySpan, GatherSpan, ScaleSpan, ValueSpan, WritePlan
from tests.writing.plans import gathered, scaled


def opened(data: bytes) -> GgufFile:
    """A file that is only in memory."""
    return read_gguf(data, Path("memory"))


def with_odd_padding(data: bytes) -> bytes:
    """The file with bytes that are not zeros wherever it has padding."""
    file, filled = opened(data), bytearray(data)
    ends = [file.header_n_bytes]
    for index, n_bytes in enumerate(file.layout.tensor_n_bytes):
        ends.append(file.offset_in_file(index) + n_bytes)
    for end in ends:
        start_of_next = pad(end - file.layout.data_start, file.header.alignment)
        start_of_next += file.layout.data_start
        filled[end:start_of_next] = bytes(0xA0 + n % 8 for n in range(start_of_next - end))
    return bytes(filled[: len(data)])


def run(plan: WritePlan, data: bytes) -> bytes:
    """What writing makes of a plan, in memory."""
    pieces = [plan.header]
    for span in plan.spans:
        if isinstance(span, GatherSpan):
            pieces.append(gathered(data[span.offset_in_file :], span))
        elif isinstance(span, CopySpan):
            pieces.append(data[span.offset_in_file :][: span.n_bytes])
        elif isinstance(span, ScaleSpan):
            pieces.append(scaled(data[span.offset_in_file :][: span.n_bytes], span))
        elif isinstance(span, ValueSpan):
            pieces.append(span.data)
        else:
            pieces.append(bytes(span.n_bytes))
    return b"".join(pieces)


def patched_header(data: bytes, path: LayerPath) -> Header:
    """The header that a patch of `data` would have."""
    return parse_header(plan_patch(opened(data), path).write_plan.header, "patched")[0]
