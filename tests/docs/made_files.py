"""Files that the page about errors speaks of: each is made once a block names it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conftest import ROOT
from tests.leaderboard.mirrors import write_mirror
from tests.models.builders import (
    I32,
    STRING,
    U16,
    U32,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)
from tests.models.foreign import OLLAMA, QWEN_IMAGE
from tests.writing.plans import sparse_model

STORIES = ROOT / "fixtures/stories260K.gguf"
LARGE = "large.gguf"
"""4 TiB, nearly all of it a hole."""
DATASETS = "leaderboard-data"
"""A mirror of the leaderboard's datasets, with made-up documents."""


def stories() -> bytes:
    return STORIES.read_bytes()


def broken_weights() -> bytes:
    """The last weights are no numbers."""
    return stories()[:-4096] + struct.pack("<f", float("nan")) * 1024


def changed_weights() -> bytes:
    return stories()[:-4] + bytes(4)


def model_of(architecture: str, n_blocks: int) -> bytes:
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, n_blocks),
    ]
    return gguf(pairs, block_tensors(n_blocks))


def without_its_mtp_block() -> bytes:
    pairs = [
        pair("general.architecture", STRING, "qwen35"),
        pair("qwen35.block_count", U32, 8),
        pair("qwen35.nextn_predict_layers", U32, 1),
    ]
    return gguf(pairs, block_tensors(7))


MADE: Mapping[str, Callable[[], bytes]] = {
    "empty.gguf": lambda: b"",
    "page.gguf": lambda: b"<!DOCTYPE html>\n<html><body>Sign in to download</body></html>\n",
    "truncated.gguf": lambda: stories()[:500_000],
    "checkpoint.gguf": lambda: b"PK\x03\x04" + bytes(1000),
    "pointer.gguf": lambda: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64
        + b"\nsize 4368438944\n"
    ),
    "entry.gguf": lambda: b"Entry not found",
    "zeros.gguf": lambda: bytes(100_000),
    "model.gguf.part1of2": lambda: stories()[:500_000],
    "image.gguf": lambda: QWEN_IMAGE,
    "sha256-5f70bf18a086": lambda: OLLAMA,
    "no-mtp.gguf": lambda: without_its_mtp_block(),
    "page.txt": lambda: b"<!DOCTYPE html>\n<html><body>Sign in to download</body></html>\n" * 20,
    "lora.gguf": lambda: gguf([*llama_pairs(3), pair("general.type", STRING, "adapter")]),
    "shard-00001-of-00002.gguf": lambda: llama_model(
        3,
        pair("split.no", U16, 0),
        pair("split.count", U16, 2),
        pair("split.tensors.count", I32, 100),
    ),
    "smollm3.gguf": lambda: model_of("smollm3", 8),
    "minimax.gguf": lambda: model_of("minimax-01", 8),
    "next.gguf": lambda: model_of("nextmodel", 8),
    "broken.gguf": broken_weights,
    "other.gguf": changed_weights,
    "utf16.txt": lambda: "In the beginning".encode("utf-16"),
    "short.txt": lambda: b"Once upon a time there was a little girl.\n",
    "edited.gguf": stories,
    "edited.gguf.ggufsurgeon-journal": lambda: b"of an edit in place\n",
    "notes.db": lambda: b"not a store\n" * 100,
}


def make_files(folder: Path, words: str) -> None:
    """Make those of the files that are named in `words`."""
    if LARGE in words:
        sparse_model(folder / LARGE, 4, 1 << 40)
    if DATASETS in words:
        write_mirror(folder / DATASETS)
    for name, content in MADE.items():
        if name in words:
            (folder / name).write_bytes(content())
