"""Models of one tokenizer whose vocabularies are padded to different sizes, and bits per byte."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import ggufsurgeon as gs
from ggufsurgeon.llama_perplexity.logits_rows import BaseRows, quantised
from ggufsurgeon.statistics.perplexity import bits_per_byte
from ggufsurgeon.statistics.scores import Values
from tests.calls import perplexity, score
from tests.conftest import Run
from tests.models.vocabularies import with_byte_tokens, with_padding

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.scoring.chunks import TextSettings, cut_text
from ggufsurgeon.scoring.logits.score_rows import score_rows
from ggufsurgeon.verification.model_runs.model_run import shakespeare

TEXT = shakespeare()[:9_000]
SETTINGS = TextSettings(n_ctx=64, n_chunks=6)
N_MORE = 8


def log_probs(logits: Values) -> npt.NDArray[np.float64]:
    exact = logits.astype(np.float64)
    return np.asarray(exact - np.log(np.exp(exact).sum(axis=1, keepdims=True)))


@pytest.fixture(scope="module")
def padded(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_padding(stories, tmp_path_factory.mktemp("padded") / "padded.gguf", N_MORE)


@pytest.mark.parametrize("is_base", [False, True])
def test_padding_is_no_divergence(stories: Path, padded: Path, is_base: bool) -> None:
    """Rows of zeros take some of the probability, which is given back over the common tokens."""
    model, base = (stories, padded) if is_base else (padded, stories)
    found = score(model, TEXT, reference=gs.ModelReference(base), settings=SETTINGS)
    assert found.comparison is not None and found.base is not None
    assert found.comparison.n_common_tokens == 512
    assert found.comparison.kl.maximum < 1e-9
    assert found.comparison.ratio.value == pytest.approx(1, abs=1e-9)
    assert found.comparison.same_top.value == 1
    with_pads, without = found.perplexity, found.base
    if is_base:
        with_pads, without = without, with_pads
    assert with_pads.value > without.value
    assert found.comparison.perplexity.value == pytest.approx(without.value)


@pytest.mark.parametrize("is_base", [False, True])
def test_saved_logits_of_another_size(
    stories: Path, padded: Path, tmp_path: Path, is_base: bool
) -> None:
    model, base = (stories, padded) if is_base else (padded, stories)
    saved = tmp_path / "base.logits"
    score(base, TEXT, save_logits=saved, settings=SETTINGS)
    found = score(model, TEXT, reference=gs.LogitsFileReference(saved), settings=SETTINGS)
    assert found.comparison is not None and found.comparison.n_common_tokens == 512
    # A logits file rounds to 16 bits: as much as of a model to its own saved logits.
    assert abs(found.comparison.kl.mean.value) < 1e-4


@pytest.mark.parametrize("is_quantised", [False, True])
def test_common_tokens_are_renormalised(is_quantised: bool) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (5, 40)).astype(np.float32)
    base = rng.normal(0, 2, (5, 36)).astype(np.float32)
    targets = rng.integers(0, 36, 5).astype(np.int32)

    p, q = log_probs(base), log_probs(logits[:, :36])
    rows = BaseRows(quantised(base) if is_quantised else base, 36)
    found = score_rows(logits, targets, rows)
    assert found.paired is not None
    tolerance = 1e-3 if is_quantised else 1e-5
    assert np.allclose(found.paired.kl, (np.exp(p) * (p - q)).sum(axis=1), atol=tolerance)
    assert np.allclose(found.paired.losses, -q[np.arange(5), targets], atol=tolerance)
    assert np.allclose(found.losses, -log_probs(logits)[np.arange(5), targets], atol=1e-5)
    p, q = log_probs(logits[:, :36]), log_probs(base)
    wide = BaseRows(quantised(logits) if is_quantised else logits, 40)
    found = score_rows(base, targets, wide)
    assert found.paired is not None
    assert np.allclose(found.paired.kl, (np.exp(p) * (p - q)).sum(axis=1), atol=tolerance)
    assert np.allclose(found.paired.base_losses, -p[np.arange(5), targets], atol=tolerance)


def test_it_is_said(stories: Path, padded: Path, tmp_path: Path, surgeon: Run) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT)
    options = ["-f", "text.txt", "--ctx", "64", "--chunks", "4", "--threads", "1"]
    told = surgeon("perplexity", padded, "--base", stories, *options)
    assert told.returncode == 0, told.stderr
    words = " ".join(told.stdout.split())
    assert "over the 512 tokens of both, whose probabilities are made to add up to 1" in words
    said = "the ratio beside them, are over each model's whole vocabulary"
    assert said in words
    assert "-0.000000" not in words  # the divergence is of rounding alone
    same = surgeon("perplexity", stories, "--base", stories, *options)
    assert said not in " ".join(same.stdout.split())
    made = surgeon("perplexity", padded, "--base", stories, *options, "--json")
    found = json.loads(made.stdout)
    assert found["divergence"]["n_common_tokens"] == 512
    assert 0 < found["base"]["bits_per_byte"]["value"] < found["bits_per_byte"]["value"]


def test_bits_per_byte_by_hand() -> None:
    """Losses of 1, 2 and 6 bits of tokens of 2, 1 and 3 bytes: 1.5 bits a byte."""
    losses = np.array([[1.0, 2.0, 6.0]]) * math.log(2)
    found = bits_per_byte(losses, np.array([[2, 1, 3]]))
    assert found.value == pytest.approx(1.5)
    # Residuals -2, 0.5 and 1.5 give a variance of 3.25; mean length 2.
    assert found.error == pytest.approx(math.sqrt(3.25 / 3) / 2)
    assert bits_per_byte(losses[:, :1], np.array([[2]])).error is None
    assert bits_per_byte(losses, np.array([[0, 0, 0]])).value == math.inf


def test_lengths_of_tokens_add_up_to_the_text(stories: Path, tmp_path: Path) -> None:
    text = TEXT + " Größe 漢字 🙂\n".encode() * 200
    bpe = with_byte_tokens(stories, tmp_path / "bpe.gguf", "gpt-2")
    for path, n_more in ((stories, 1), (bpe, 0)):  # SentencePiece puts a space in front
        with loaded_model(path, Devices(n_threads=1), vocabulary_alone=True) as model:
            tokens = model.tokenize(text)
            first = int(model.adds_bos)
            assert model.n_bytes_of(tokens[first:]).sum() == len(text) + n_more
            chunks = cut_text(model, text, SETTINGS)
            assert chunks.targets.shape == (6, 31)
            assert np.array_equal(chunks.targets[0], tokens[33:64])


def test_bits_per_byte_are_of_the_scored_tokens(stories: Path) -> None:
    found = perplexity(stories, TEXT, settings=SETTINGS)
    with loaded_model(stories, Devices(n_threads=1), vocabulary_alone=True) as model:
        n_bytes = model.n_bytes_of(cut_text(model, TEXT, SETTINGS).targets).sum()
    assert found.bits_per_byte is not None
    expected = math.log2(found.value) * found.n_scored / n_bytes
    assert found.bits_per_byte.value == pytest.approx(expected)
