"""Second models of the kind of a first: other weights, other types, other vocabularies."""

from __future__ import annotations

import ctypes
import zlib
from pathlib import Path

import numpy as np

from ggufsurgeon.container.gguf_file import open_gguf

F32, F16 = 0, 1
READ_BY_ALL = ("rope_",)
"""How the names begin of tensors that the blocks of every model read."""


def fine_tune(source: Path, destination: Path, seed: int = 1) -> Path:
    """The model with all weights of F32 and F16 changed by about a fifth, but those read by all."""
    file, content = open_gguf(source), bytearray(source.read_bytes())
    for n, tensor in enumerate(file.header.tensors):
        if tensor.type_id not in (F32, F16) or tensor.name.startswith(READ_BY_ALL):
            continue
        dtype = np.float32 if tensor.type_id == F32 else np.float16
        start = file.offset_in_file(n)
        part = slice(start, start + file.layout.tensor_n_bytes[n])
        values = np.frombuffer(content[part], dtype)
        random = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
        factors = random.normal(1, 0.2, values.shape)
        content[part] = (values * factors).astype(dtype).tobytes()
    destination.write_bytes(content)
    return destination


def requantize(source: Path, destination: Path, kind: str) -> Path:
    """The model with its matrices in another type, such as `Q8_0`."""
    from ggufsurgeon.engine.installation.library import llama_cpp

    lib = llama_cpp()
    params = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.allow_requantize, params.nthread = True, 1
    paths = str(source).encode(), str(destination).encode()
    assert lib.llama_model_quantize(*paths, ctypes.byref(params)) == 0
    return destination
