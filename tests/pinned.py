"""Figures of llama-perplexity that are pinned: to the last digit where this machine rounds alike.

llama.cpp's kernels, and so the last digits, depend on the CPU that it was built for. The fixtures
were measured on an AMD EPYC with AVX-512. Elsewhere figures must be close, and what is not a
figure must be the same.
"""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LOGITS_FILE = ROOT / "fixtures/stories260K.ctx64.base"
"""What llama-perplexity wrote for 4 chunks of 64 tokens."""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
CLOSE = 2e-3
"""Relative and absolute. Seen on an Intel Xeon: 3e-5 of perplexities, 6e-4 of percentiles."""


@cache
def rounds_alike() -> bool:
    """Whether this machine computes the logits of stories260K to the bit as pinned."""
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.verification.model_runs.model_run import shakespeare
    from tests.calls import score

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "logits"
        stories = ROOT / "fixtures/stories260K.gguf"
        settings = TextSettings(64, 4)
        score(stories, shakespeare(), save_logits=saved, settings=settings)
        return saved.read_bytes() == LOGITS_FILE.read_bytes()


def assert_pinned(found: Any, pinned: Any) -> None:
    """Texts with figures, or lists and dicts of them, are what llama-perplexity prints."""
    if rounds_alike():
        assert found == pinned
        return
    texts, expected = _texts(found), _texts(pinned)
    assert [NUMBER.sub("", text) for text in texts] == [NUMBER.sub("", text) for text in expected]
    for one, other in zip(texts, expected, strict=True):
        numbers = [float(number) for number in NUMBER.findall(other)]
        least = 10 * CLOSE if "%" in other else CLOSE
        found_numbers = [float(number) for number in NUMBER.findall(one)]
        assert found_numbers == pytest.approx(numbers, rel=CLOSE, abs=least), one


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key in sorted(value) for text in [key, *_texts(value[key])]]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [str(value)]


def assert_logits_file(found: bytes) -> None:
    """A file of logits is the pinned one: elsewhere its header and tokens are."""
    pinned = LOGITS_FILE.read_bytes()
    n_bytes = len(pinned) if rounds_alike() else 20 + 4 * 64 * 4
    assert len(found) == len(pinned) and found[:n_bytes] == pinned[:n_bytes]
