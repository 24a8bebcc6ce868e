"""Numbers multiplied by a factor."""

from __future__ import annotations

from ggufsurgeon.write_plan import ScaleSpan
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.sink import Sink


def scale(sink: Sink, source: int, span: ScaleSpan) -> None:
    """Write a span. Raises OSError when the source ends before it."""
    import numpy as np  # takes 0.1 s to import: only when it is needed

    width = np.dtype(span.dtype).itemsize
    n_at_once = max(copying.BUFFER_N_BYTES // width, 1) * width
    for start in range(0, span.n_bytes, n_at_once):
        n_bytes = min(n_at_once, span.n_bytes - start)
        data = copying.read_all(source, span.offset_in_file + start, n_bytes)
        with np.errstate(all="ignore"):  # what overflows becomes infinite, NaNs stay
            numbers = np.frombuffer(data, span.dtype).astype(np.float64) * span.factor
            sink.write(numbers.astype(span.dtype).tobytes())
