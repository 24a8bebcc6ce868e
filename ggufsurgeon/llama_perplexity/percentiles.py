"""Percentiles as llama-perplexity computes them, in 32-bit floats.

tools/perplexity/perplexity.cpp:1930-1937 in llama.cpp of 2026-10-01.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def percentile(ordered: npt.NDArray[np.float32], percent: float) -> float:
    """A percentile of values [n] in ascending order, interpolated between the two nearest.

    Place and interpolation are rounded to 32 bits, step by step.
    """
    at = np.float32(percent / 100) * np.float32(len(ordered) - 1)
    below = int(at)
    share = np.float32(at - np.float32(below))
    above = ordered[min(below + 1, len(ordered) - 1)]
    return float((np.float32(1) - share) * ordered[below] + share * above)
