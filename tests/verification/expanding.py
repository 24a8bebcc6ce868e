"""Headers to loadable models, with seeded random weights."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from ggufsurgeon.container.codec import parse_header

DTYPES = {0: np.float32, 1: np.float16, 26: np.int32}
"""By ggml type: F32, F16, I32."""


def expand(header_path: Path, model_path: Path, seed: int) -> Path:
    """Weights are normal(0, 0.1), drawn by seed and tensor name; integers are zero."""
    header, _ = parse_header(header_path.read_bytes(), str(header_path))
    with model_path.open("wb") as file:
        file.write(header_path.read_bytes())
        start = file.tell()
        for tensor in header.tensors:
            dtype = DTYPES[tensor.type_id]
            rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
            values = rng.normal(0, 0.1, math.prod(tensor.dims))
            is_integer = np.issubdtype(dtype, np.integer)
            file.seek(start + tensor.offset_in_data)
            file.write((values * (not is_integer)).astype(dtype).tobytes())
    return model_path
