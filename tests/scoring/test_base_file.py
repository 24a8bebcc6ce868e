"""Base files: what is written is read, and what is damaged is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ggufsurgeon as gs
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError, WriteFailedError
from tests.calls import score
from tests.conftest import ROOT

pytest.importorskip("llama_cpp", reason="needs the llama extra")


from ggufsurgeon.llama_perplexity.logits_file import HEAD, opened_logits_file, opened_logits_writer
from ggufsurgeon.llama_perplexity.logits_rows import dequantised, quantised
from ggufsurgeon.llama_perplexity.softmax import sums_of
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.verification.model_runs.model_run import shakespeare

TOOLS_BASE = ROOT / "fixtures/stories260K.ctx64.base"
SETTINGS = TextSettings(64, 4)
Write = Callable[..., Path]

shapes = st.tuples(st.integers(1, 4), st.integers(3, 9), st.integers(1, 40))
"""Chunks, context, vocabulary."""
logits = st.floats(-200, 200, width=32) | st.just(-np.inf)


@given(st.data(), shapes)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    shape: tuple[int, int, int],
) -> None:
    """In whatever order and pieces; a quantised logit is off by half a step at most."""
    n_chunks, n_ctx, n_vocab = shape
    n_rows = n_ctx - 1 - n_ctx // 2
    path = tmp_path_factory.getbasetemp() / "base"
    tokens = data.draw(arrays(np.int32, (n_chunks, n_ctx), elements=st.integers(0, n_vocab - 1)))
    values = data.draw(arrays(np.float32, (n_chunks, n_rows, n_vocab), elements=logits))
    values[..., 0] = data.draw(st.floats(-200, 200, width=32))  # not all are minus infinity
    places = [(chunk, row) for chunk in range(n_chunks) for row in range(n_rows)]
    with opened_logits_writer(path, tokens, n_vocab) as writer:
        for chunk, row in data.draw(st.permutations(places)):
            writer.write(chunk, row, values[chunk, row : row + 1])
    with opened_logits_file(path) as base:
        base.check("model", tokens)
        for chunk in range(n_chunks):
            found = base.rows(chunk, 0, n_rows)
            exact = sums_of(values[chunk]).log_probs(values[chunk])
            highest = exact.max(axis=1, keepdims=True)
            clamped = np.maximum(exact, highest - 16)
            assert np.abs(dequantised(found.rows, n_vocab) - clamped).max() < 16 / 65535 / 2 + 2e-5


def test_quantising_is_the_tools_one_number_at_a_time() -> None:
    """perplexity.cpp:79-107, in steps of 32-bit floats."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 5, (40, 33)).astype(np.float32)
    rows[7] = 3.5  # all alike: no scale
    for row, found in zip(rows, quantised(rows), strict=True):
        top = row.max()
        lowest = max(row.min(), top - np.float32(16))
        log_sum = np.float32(np.log(np.exp((row - top).astype(np.float64)).sum()))
        scale = np.float32((top - lowest) / np.float32(65535))
        head = np.array([scale, np.float32(np.float32(lowest - top) - log_sum)], np.float32)
        assert np.allclose(found[:4].view(np.float32), head, rtol=1e-6)
        for logit, step in zip(row, found[4:], strict=False):
            expected = 0
            if scale and logit > lowest:
                product = np.float32(np.float32(1) / scale) * np.float32(logit - lowest)
                # Adding 1.5 * 2^23 leaves no room for a fraction.
                shifted = np.float32(product + np.float32(12582912))
                expected = int(shifted) - 12582912
            assert step == expected
        assert len(found) == 4 + 34 and found[-1] == 0
    assert np.all(dequantised(quantised(rows[7:8]), 33) == pytest.approx(-np.log(33), abs=1e-6))


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "prose.txt"
    path.write_bytes(shakespeare() + b"\n")
    return path


def opened(path: Path) -> None:
    """As the measuring of the model does: the tokens are what the text has."""
    with opened_logits_file(TOOLS_BASE) as base:
        tokens = base.tokens
    with opened_logits_file(path) as base:
        base.check("model", tokens)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_byte_of_the_header_matters(tmp_path: Path, flip: int) -> None:
    data = TOOLS_BASE.read_bytes()
    damaged = tmp_path / "damaged"
    for at in range(HEAD.size + 4 * 64 * 4):
        damaged.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        with pytest.raises((MalformedFileError, UsageError), match="damaged"):
            opened(damaged)


@pytest.mark.parametrize("n_bytes", [0, 3, 8, 19, 20, 500, 1044, 5000, 129_011])
def test_a_file_cut_short(tmp_path: Path, n_bytes: int) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(TOOLS_BASE.read_bytes()[:n_bytes])
    with pytest.raises(MalformedFileError, match=r"cut.*(begin|ends within|make 129,012 bytes)"):
        opened(cut)


def test_a_file_cut_short_as_it_is_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(TOOLS_BASE.read_bytes())
    with opened_logits_file(cut) as base:
        os.truncate(cut, 129_011)
        base.rows(3, 0, 30)
        with pytest.raises(MalformedFileError, match="cut short as it was read"):
            base.rows(3, 0, 31)


def test_a_file_that_goes_on(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_bytes(TOOLS_BASE.read_bytes() + b"\0")
    with pytest.raises(MalformedFileError, match="make 129,012 bytes, it has 129,013"):
        opened(long)


def test_lengths_do_not_make_memory_grow(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(HEAD.pack(b"_logits_", 2**31 - 1, 2**31 - 1, 2**31 - 1))
    with pytest.raises(MalformedFileError, match="it has 20"):
        opened(path)


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_row_of_nonsense(stories: Path, prose: Path, tmp_path: Path, value: str) -> None:
    data = bytearray(TOOLS_BASE.read_bytes())
    at = HEAD.size + 4 * 64 * 4 + (2 * 31 + 5) * (4 + 512) * 2
    data[at : at + 4] = np.float32(value).tobytes()
    path = tmp_path / "nonsense"
    path.write_bytes(data)
    with pytest.raises(MalformedFileError, match=f"at byte {at}: a row without a possible scale"):
        score(stories, prose, reference=gs.LogitsFileReference(path), settings=SETTINGS)


@pytest.mark.parametrize(
    ("settings", "text", "says"),
    [
        (TextSettings(32, 8), None, "has contexts of 64 tokens, not 32"),
        (TextSettings(64, 5), None, "has 4 chunks, 5 are asked for"),
        (SETTINGS, b"Once upon a time there was a dog. " * 90, "in chunk 0, place 1$"),
    ],
)
def test_what_does_not_fit(
    stories: Path,
    prose: Path,
    write: Write,
    settings: TextSettings,
    text: bytes | None,
    says: str,
) -> None:
    path = prose if text is None else write(text, "other.txt")
    with pytest.raises(UsageError, match=says):
        score(stories, path, reference=gs.LogitsFileReference(TOOLS_BASE), settings=settings)


def test_another_vocabulary(smollm2: Path, prose: Path) -> None:
    with pytest.raises(UsageError, match=r"has other tokens than .* reads in the text"):
        score(smollm2, prose, reference=gs.LogitsFileReference(TOOLS_BASE), settings=SETTINGS)


def test_a_long_text_is_measured_as_far_as_the_base_goes(stories: Path, prose: Path) -> None:
    whole = TextSettings(64)
    measured = score(stories, prose, reference=gs.LogitsFileReference(TOOLS_BASE), settings=whole)
    assert measured.perplexity.n_chunks == 4


def test_files_that_are_none(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(MalformedFileError) as told, opened_logits_file(stories):
        pass
    assert "as the base" in told.value.hint
    with pytest.raises(UsageError, match="cannot be read"), opened_logits_file(tmp_path / "absent"):
        pass


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"total": 10**9, "free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    tokens = np.zeros((4, 64), dtype=np.int32)
    with (
        pytest.raises(WriteFailedError, match=r"need 129,012 bytes, .* has 1,000 free"),
        opened_logits_writer(tmp_path / "base", tokens, 512),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    tokens = np.zeros((4, 64), dtype=np.int32)
    logits = np.zeros((31, 512), dtype=np.float32)
    with pytest.raises(GgufSurgeonError, match="No space left"):  # noqa: SIM117
        with opened_logits_writer(Path("/dev/full"), tokens, 512) as writer:
            for chunk in range(4):
                writer.write(chunk, 0, logits)
