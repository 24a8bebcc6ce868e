"""Models with scales besides their weights, or with weights multiplied: what strengths and factors
stand for.

Shares no code with planning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.headers.header import Header, TensorInfo
from ggufsurgeon.container.layout import lay_out, pad

F32 = 0
SCALED = ("attn_output", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "ssm_out")
"""The weights whose products llama.cpp multiplies, or may, before they leave the block."""

WITH_BIASES = ("attn_q", "attn_k")
"""The weights whose biases are multiplied with them."""

Tensors = dict[str, tuple[TensorInfo, bytes]]


def with_scales(
    source: Path,
    destination: Path,
    strengths: Mapping[int, float],
    weights: Sequence[str] = SCALED,
) -> Path:
    """A copy in which the weights of these blocks have a scale, or what was there multiplied."""
    header, tensors = _read(source)
    for block, strength in strengths.items():
        _multiply_biases(tensors, block, weights, strength)
        for name in weights:
            weight = tensors.get(f"blk.{block}.{name}.weight")
            if weight is None:
                continue
            scale = f"blk.{block}.{name}.scale"
            n = weight[0].dims[2] if name.endswith("exps") else 1
            before = np.frombuffer(tensors[scale][1], "<f4") if scale in tensors else np.ones(n)
            data = (before * strength).astype("<f4").tobytes()
            tensors[scale] = TensorInfo(scale, (n,), F32, 0), data
    return _write(header, tensors, destination)


def with_scaled_weights(
    source: Path,
    destination: Path,
    strengths: Mapping[int, float],
    weights: Sequence[str] = SCALED,
) -> Path:
    """A copy in which the weights of these blocks are multiplied; they must be F32."""
    header, tensors = _read(source)
    for block, strength in strengths.items():
        _multiply_biases(tensors, block, weights, strength)
        for name in weights:
            _multiply(tensors, f"blk.{block}.{name}.weight", strength)
    return _write(header, tensors, destination)


def _multiply_biases(tensors: Tensors, block: int, weights: Sequence[str], strength: float) -> None:
    for name in WITH_BIASES:
        if name in weights:
            _multiply(tensors, f"blk.{block}.{name}.bias", strength)


def _multiply(tensors: Tensors, name: str, strength: float) -> None:
    if name in tensors:
        info, data = tensors[name]
        assert info.type_id == F32
        tensors[name] = info, (np.frombuffer(data, "<f4") * np.float32(strength)).tobytes()


def without_biases(source: Path, destination: Path) -> bool:
    """Write a copy without the biases behind these weights; whether there were any."""
    header, tensors = _read(source)
    biases = [name for name in tensors if name.endswith(tuple(f".{w}.bias" for w in SCALED))]
    if biases:
        _write(header, {n: t for n, t in tensors.items() if n not in biases}, destination)
    return bool(biases)


def without_scales(source: Path) -> Path:
    """Take the scales out of a model, which the fixtures have behind every weight."""
    header, tensors = _read(source)
    kept = {name: each for name, each in tensors.items() if not name.endswith("scale")}
    return _write(header, kept, source)


def _read(source: Path) -> tuple[Header, Tensors]:
    raw = source.read_bytes()
    header, n_bytes = parse_header(raw, str(source))
    layout = lay_out(header, n_bytes, len(raw), str(source))
    found: Tensors = {}
    for info, size in zip(header.tensors, layout.tensor_n_bytes, strict=True):
        start = layout.data_start + info.offset_in_data
        found[info.name] = info, raw[start : start + size]
    return header, found


def _write(header: Header, tensors: Tensors, destination: Path) -> Path:
    placed, parts, at = [], [], 0
    for info, data in tensors.values():
        placed.append(replace(info, offset_in_data=at))
        parts.append(data + bytes(pad(len(data), header.alignment) - len(data)))
        at += len(parts[-1])
    raw = serialize_header(replace(header, tensors=tuple(placed)))
    padding = bytes(pad(len(raw), header.alignment) - len(raw))
    destination.write_bytes(raw + padding + b"".join(parts))
    return destination
