"""Perplexity: the figures of llama-perplexity, and the algorithm against a plain one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError, UsageError
from tests.calls import perplexity
from tests.conftest import ROOT, Run
from tests.models.builders import STRING, llama_model, pair
from tests.pinned import assert_pinned

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.llama_perplexity.softmax import losses_of, sums_of
from ggufsurgeon.llama_perplexity.stride import single_losses
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.statistics.perplexity import Perplexity
from ggufsurgeon.verification.model_runs.model_run import shakespeare

pytestmark = pytest.mark.slow

FIGURES = json.loads((ROOT / "fixtures/llama_perplexity.json").read_text())["figures"]
Write = Callable[..., Path]


@pytest.fixture
def prose(write: Write) -> Path:
    return write(shakespeare() + b"\n", "prose.txt")


@pytest.mark.parametrize(
    "figure",
    FIGURES,
    ids=lambda f: f"{f['model']}-{f['text'][:4]}-{f['n_ctx']}-{f['n_batch']}-{f.get('stride')}",
)
def test_figures_are_llama_perplexitys(
    figure: dict[str, Any], prose: Path, request: pytest.FixtureRequest
) -> None:
    model: Path = request.getfixturevalue("stories" if "stories" in figure["model"] else "smollm2")
    is_wiki = figure["text"].startswith("wiki")
    text: Path = request.getfixturevalue("wikitext") if is_wiki else prose
    settings = TextSettings(
        figure["n_ctx"], figure["n_chunks"], figure["n_batch"], figure.get("stride")
    )
    measured = perplexity(model, text, settings=settings)
    assert_pinned(f"{measured.value:.4f}", figure["perplexity"])
    if figure["error"] is not None:  # with a stride, the tool prints none
        assert_pinned(f"{measured.error:.5f}", figure["error"])


def test_how_chunks_are_batched_changes_little(stories: Path, prose: Path) -> None:
    """llama.cpp rounds batches of other shapes differently, 3e-4 here."""

    def measure(n_batch: int) -> Perplexity:
        return perplexity(stories, prose, settings=TextSettings(96, 7, n_batch))

    one_at_once = measure(96)
    assert (one_at_once.n_chunks, one_at_once.n_ctx, one_at_once.n_scored) == (7, 96, 7 * 47)
    for n_batch in (10, 200, 2048):
        assert measure(n_batch).value == pytest.approx(one_at_once.value, rel=1e-3)
    assert measure(1 << 32).value == measure(2048).value  # more than llama.cpp counts


def test_likelihoods_are_those_of_a_softmax_in_double_precision() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 9, (150, 1000)).astype(np.float32)
    targets = rng.integers(0, 1000, 150).astype(np.int32)
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    found = losses_of(logits, targets)
    assert np.allclose(found, -exact[np.arange(150), targets], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is empty"),
        (b" \n", "has only white space"),
        (b"Too short.", "tokens, a context of 512 needs"),
        (b"To be\0, or not", "not a text: byte 5 is zero"),
        (b"caf\xe9 noir", "not UTF-8 at byte 3"),
    ],
)
def test_bad_texts(stories: Path, write: Write, text: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        perplexity(stories, write(text, "bad.txt"))


def test_a_folder_of_texts_is_read_by_name(stories: Path, tmp_path: Path) -> None:
    lines = shakespeare()[:6000].splitlines(keepends=True)
    for name, part in (("b.md", lines[100:]), ("a.txt", lines[:100]), ("c.bin", [b"\0"])):
        (tmp_path / name).write_bytes(b"".join(part))
    settings = TextSettings(128, 3)
    whole = perplexity(stories, b"".join(lines).removesuffix(b"\n"), settings=settings)
    assert perplexity(stories, tmp_path, settings=settings).chunk_losses == whole.chunk_losses


def test_a_folder_without_texts(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file that ends in \.txt or \.md"):
        perplexity(stories, tmp_path)


@pytest.mark.parametrize("stride", [768, 5000])
def test_a_stride_longer_than_its_context(stories: Path, prose: Path, stride: int) -> None:
    with pytest.raises(UsageError, match="does not fit a context of 8"):
        perplexity(stories, prose, settings=TextSettings(8, stride=stride))


def test_losses_of_chunks_and_positions_add_up(stories: Path, prose: Path) -> None:
    found = perplexity(stories, prose, settings=TextSettings(64, 5))
    assert (len(found.chunk_losses), len(found.position_losses)) == (5, 31)
    for losses in (found.chunk_losses, found.position_losses):
        assert np.exp(np.mean(losses)) == pytest.approx(found.value, rel=1e-12)


def test_a_missing_text(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        perplexity(stories, tmp_path / "absent.txt")


def test_a_model_that_does_not_load_says_why(write: Write, prose: Path) -> None:
    with pytest.raises(MalformedFileError, match=r"llama\.cpp cannot load it: .*error"):
        perplexity(write(llama_model(3)), prose)


def test_a_model_without_a_tokenizer_is_a_usage_error(tmp_path: Path, prose: Path) -> None:
    from tests.models.expanding import expand

    header = (ROOT / "fixtures/arch_headers/llama-dense.gguf").read_bytes()
    alike = pair("tokenizer.ggml.model", STRING, "test")
    assert header.count(alike) == 1
    # Four bytes longer, which the padding has room for: the data stays where it is.
    longer = header.replace(alike, pair("tokenizer.ggml.model", STRING, "no_vocab"))
    (tmp_path / "header.gguf").write_bytes(longer[: len(header)])
    model = expand(tmp_path / "header.gguf", tmp_path / "model.gguf", 0)
    with pytest.raises(UsageError, match="no tokenizer"):
        perplexity(model, prose)


def test_single_precision_is_rounded_where_c_rounds() -> None:
    """Step by step as the tool goes with a stride: expf, a sum of doubles, a float, logf."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (2000, 50)).astype(np.float32)
    targets = rng.integers(0, 50, 2000).astype(np.int32)
    expected = []
    for row, target in zip(logits, targets, strict=True):
        exponentials = [float(np.float32(math.exp(value))) for value in row - row.max()]
        probability = np.float32(exponentials[target] / np.sum(exponentials))
        expected.append(-math.log(probability))
    found = single_losses(sums_of(logits), logits, targets)
    assert (found == found.astype(np.float32)).all()
    assert np.abs(found / expected - 1).max() < 1e-7


def test_losses_beyond_single_precision(
    stories: Path, tmp_path: Path, prose: Path, surgeon: Run
) -> None:
    """With a stride the tool takes logarithms of 32-bit probabilities: it prints inf for this."""
    file = open_gguf(stories)
    names = [tensor.name for tensor in file.header.tensors]
    at = file.offset_in_file(names.index("output_norm.weight"))
    data = bytearray(stories.read_bytes())
    weights = np.frombuffer(data, np.float32, 64, at)
    data[at : at + weights.nbytes] = (60 * weights).tobytes()
    loud = tmp_path / "loud.gguf"
    loud.write_bytes(data)
    plain = surgeon("perplexity", loud, "--text", prose, "--chunks", "2", "--json")
    assert 1e6 < json.loads(plain.stdout)["perplexity"] < 1e300
    strided = surgeon(
        "perplexity", loud, "--text", prose, "--stride", "64", "--chunks", "2", "--json"
    )
    told = json.loads(strided.stdout, parse_constant=pytest.fail)
    assert told["perplexity"] == "inf"


def test_broken_weights_are_named(stories: Path, tmp_path: Path, prose: Path) -> None:
    file = open_gguf(stories)
    names = [tensor.name for tensor in file.header.tensors]
    data = bytearray(stories.read_bytes())
    at = file.offset_in_file(names.index("output_norm.weight"))
    data[at : at + 4] = np.float32("nan").tobytes()
    broken = tmp_path / "nan.gguf"
    broken.write_bytes(data)
    with pytest.raises(MalformedFileError, match="not finite"):
        perplexity(broken, prose)
