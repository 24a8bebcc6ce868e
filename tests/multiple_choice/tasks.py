"""Task files for tests."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tests.conftest import ROOT

TASKS = ROOT / "fixtures/tasks"


def as_multiple_choice(jsonl: Path) -> bytes:
    """The same tasks in llama-perplexity's binary format."""
    tasks = [_one(json.loads(line)) for line in jsonl.read_text().splitlines()]
    at = 4 + 4 * len(tasks)
    positions = [at + sum(map(len, tasks[:n])) for n in range(len(tasks))]
    return struct.pack(f"<I{len(tasks)}I", len(tasks), *positions) + b"".join(tasks)


def _one(task: dict[str, object]) -> bytes:
    choices = task["choices"]
    assert isinstance(choices, list)
    labels = [int(n == task["answer"]) for n in range(len(choices))]
    answers = struct.pack("<I", len(choices)) + b"".join(map(_text, choices))
    none = struct.pack("<I", 0)
    return _text(str(task["question"])) + answers + struct.pack(f"<{len(labels)}i", *labels) + none


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded
