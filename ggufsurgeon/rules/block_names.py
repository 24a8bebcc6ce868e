"""Names of tensors of blocks: `blk.7.attn_q.weight`."""

from __future__ import annotations

import re

_NAME = re.compile(r"((?:enc\.)?blk)\.(0|[1-9]\d{0,8})\.(.+)", re.DOTALL | re.ASCII)
"""Anchored: `v.blk.0` is not a block of the main graph. `enc.blk.0` is one in t5encoder
(src/llama-arch.cpp:613-622) and in t5, which is refused."""


def block_of(name: str) -> int | None:
    """The block that a tensor belongs to, or None."""
    match = _NAME.fullmatch(name)
    return int(match[2]) if match else None


def name_in_block(name: str) -> str | None:
    """The name of a tensor within its block, `attn_q.weight`; None when it is in none."""
    match = _NAME.fullmatch(name)
    return match[3] if match else None


def renumber(name: str, block: int) -> str:
    """The name of the same tensor in another block."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return f"{match[1]}.{block}.{match[3]}"
