"""Other formats that a file may have, for hints in messages."""

from __future__ import annotations

import mmap
import struct

CONVERT = "Convert its folder first, with convert_hf_to_gguf.py of llama.cpp."
QUANTIZE = "Quantize the model that it belongs to with it first, and patch the result."
OLD_MODELS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
"""ggml, ggmf, ggjt and ggla, the magics before GGUF, as little-endian numbers."""
PICKLES = (b"PK\x03\x04", b"\x80\x02")
"""Zip and bare pickle: the formats of `torch.save`, new and old."""


def hint_of_format(data: bytes | mmap.mmap) -> str:
    """A hint that names the format and says what to do; empty for an unknown format."""
    start = bytes(data[:16])
    if start[8:10] in (b'{"', b"{ "):  # behind the length of a JSON header
        return f"This looks like safetensors. {CONVERT}"
    if start.startswith(b"_logits_"):
        return "These are logits of a model: give them as the base logits of a measurement."
    if start.startswith(PICKLES):
        return f"This looks like a PyTorch checkpoint. {CONVERT}"
    if start.startswith(OLD_MODELS):
        return "This looks like a pre-GGUF (ggml/ggjt) model. Convert its original weights again."
    if _names_a_weight(data):
        return f"This looks like an importance matrix (imatrix). {QUANTIZE}"
    return ""


def _names_a_weight(data: bytes | mmap.mmap) -> bool:
    """An old imatrix begins: number of entries (i32), length of a name (i32), the name.

    common/imatrix-loader.cpp:10-32.
    """
    if len(data) < 8:
        return False
    n_entries, n_bytes = struct.unpack_from("<ii", data)
    return n_entries > 0 and 0 < n_bytes < 100 and b".weight" in data[8 : 8 + n_bytes]
