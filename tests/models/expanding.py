"""Headers to loadable models, with seeded random weights.

    python -m tests.models.expanding MODEL SCALE FILE

writes one to FILE, for other programs. MODEL is named as in matrix.py.
"""

from __future__ import annotations

import math
import sys
import zlib
from pathlib import Path

import numpy as np

from ggufsurgeon.container.headers.codec import parse_header
from tests.conftest import ROOT
from tests.models.variants import vary

DTYPES = {0: np.float32, 1: np.float16, 26: np.int32}
"""By ggml type: F32, F16, I32."""
DECAYS = ".ssm_a"
"""Minus an exponential in every model: above 0, a state grows until it is infinite."""


def expand(header_path: Path, model_path: Path, seed: int, scale: float = 0.1) -> Path:
    """Weights are normal(0, scale), drawn by seed and tensor name; integers are 0, decays < 0."""
    raw = header_path.read_bytes()
    header, _ = parse_header(raw, str(header_path))
    with model_path.open("wb") as file:
        file.write(raw)
        start = file.tell()
        for tensor in header.tensors:
            dtype = DTYPES[tensor.type_id]
            rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
            values = rng.normal(0, scale, math.prod(tensor.dims))
            if tensor.name.endswith(DECAYS):
                values = -np.abs(values)
            is_integer = np.issubdtype(dtype, np.integer)
            file.seek(start + tensor.offset_in_data)
            file.write((values * (not is_integer)).astype(dtype).tobytes())
    return model_path


def expand_named(name: str, model_path: Path, scale: float = 0.1) -> Path:
    """Write the model that the stem of a header and its variants name; the name is the seed."""
    stem, _, variant = name.partition("@")
    header = vary(ROOT / f"fixtures/arch_headers/{stem}.gguf", variant, model_path)
    return expand(header, model_path, zlib.crc32(name.encode()), scale)


if __name__ == "__main__":
    expand_named(sys.argv[1], Path(sys.argv[3]), float(sys.argv[2]))
