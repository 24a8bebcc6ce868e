"""KL divergence: what llama-perplexity prints, base files it can use, and layer paths."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError
from ggufsurgeon.layer_path.edits import repeat
from tests.calls import patch, perplexity, score
from tests.conftest import ROOT
from tests.pinned import assert_logits_file, assert_pinned

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.llama_perplexity.logits_rows import BaseRows, quantised
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.logits.score_rows import score_rows
from ggufsurgeon.statistics.divergence import Comparison, Spread, compare_scores
from ggufsurgeon.statistics.estimate import Estimate
from ggufsurgeon.statistics.scores import PairedScores
from ggufsurgeon.verification.model_runs.model_run import shakespeare

pytestmark = pytest.mark.slow

FIGURES = json.loads((ROOT / "fixtures/llama_perplexity.json").read_text())["divergences"]
TOOLS_BASE = ROOT / "fixtures/stories260K.ctx64.base"
SHORT = TextSettings(64, 4)
WINDOW = repeat((1, 3))
Write = Callable[..., Path]


@pytest.fixture
def prose(write: Write) -> Path:
    return write(shakespeare() + b"\n", "prose.txt")


@pytest.fixture
def patched(stories: Path, tmp_path: Path) -> Path:
    patch(stories, tmp_path / "patched.gguf", WINDOW)
    return tmp_path / "patched.gguf"


def as_printed(found: Comparison) -> dict[str, str]:
    """In the words and digits of llama-perplexity (perplexity.cpp:1892-1982)."""

    def row(of: Estimate) -> str:
        return f"{of.value:.6f} ± {of.error:.6f}"

    def percent(of: Estimate) -> str:
        assert of.error is not None
        return f"{100 * of.value:.3f} ± {100 * of.error:.3f} %"

    def spread(of: Spread, label: str, digits: str) -> dict[str, str]:
        values = {f"{float(key):.1f}%": value for key, value in of.percentiles.items()}
        values = {"Maximum": of.maximum, **values, "Minimum": of.minimum}
        values["Median"] = values.pop("50.0%")
        return {f"{name} {label}": f"{value:{digits}}" for name, value in values.items()}

    kl = spread(found.kl, "KLD", ".6f")
    del kl["75.0% KLD"], kl["25.0% KLD"]  # it leaves them out
    return {
        "Mean PPL(Q)": row(found.perplexity),
        "Mean PPL(base)": row(found.base_perplexity),
        "Cor(ln(PPL(Q)), ln(PPL(base)))": f"{100 * found.correlation:.2f}%",
        "Mean ln(PPL(Q)/PPL(base))": row(found.ln_ratio),
        "Mean PPL(Q)/PPL(base)": row(found.ratio),
        "Mean PPL(Q)-PPL(base)": row(found.difference),
        "Mean KLD": row(found.kl.mean),
        **kl,
        "Mean Δp": percent(found.delta_p.mean),
        **spread(found.delta_p, "Δp", ".3%"),
        "RMS Δp": percent(found.rms_delta_p),
        "Same top p": percent(found.same_top),
    }


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f['model']}-{f['n_ctx']}")
def test_figures_are_llama_perplexitys(
    figure: dict[str, Any], prose: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: Path = request.getfixturevalue("stories" if "stories" in figure["model"] else "smollm2")
    settings = TextSettings(figure["n_ctx"], figure["n_chunks"], figure["n_batch"])
    path = repeat(figure["window"])
    patched, base = tmp_path / "patched.gguf", tmp_path / "base"
    patch(model, patched, path)
    score(model, prose, save_logits=base, settings=settings)
    measured = score(patched, prose, reference=gs.LogitsFileReference(base), settings=settings)
    assert measured.comparison is not None
    assert_pinned(as_printed(measured.comparison), figure["printed"])


def test_the_base_file_is_the_tools_to_the_byte(stories: Path, prose: Path, tmp_path: Path) -> None:
    score(stories, prose, save_logits=tmp_path / "base", settings=SHORT)
    assert_logits_file((tmp_path / "base").read_bytes())


@pytest.mark.parametrize(
    ("n_ctx", "n_chunks", "n_batch"),
    [(512, 4, 2048), (100, 24, 2048), (128, 8, 2048), (1024, 2, 2048), (600, 2, 700), (300, 3, 90)],
)
def test_routed_is_what_the_written_file_gives(
    stories: Path, patched: Path, prose: Path, n_ctx: int, n_chunks: int, n_batch: int
) -> None:
    settings = TextSettings(n_ctx, n_chunks, n_batch)
    routed = score(stories, prose, WINDOW, settings=settings)
    assert routed.base is not None and routed.layer_path == "0..2,1..4"
    for path, result in ((patched, routed.perplexity), (stories, routed.base)):
        written = perplexity(path, prose, settings=settings)
        assert written.value == result.value
        assert written.error == result.error
    against_file = score(patched, prose, reference=gs.ModelReference(stories), settings=settings)
    assert against_file.comparison is not None
    assert replace(against_file.comparison, layer_path="0..2,1..4") == routed.comparison


def test_a_path_against_another_base(stories: Path, patched: Path, prose: Path) -> None:
    """A path is its written file, whose logits it also saves."""
    own = score(stories, prose, WINDOW, reference=gs.ModelReference(patched), settings=SHORT)
    reference = gs.ModelReference(stories, WINDOW.over(5))
    bases = score(patched, prose, reference=reference, settings=SHORT)
    for found in (own.comparison, bases.comparison):
        assert found is not None
        assert found.kl.maximum < 1e-9 and found.same_top.value == 1
    other = score(stories, prose, reference=gs.PathReference(WINDOW.over(5)), settings=SHORT)
    assert other.base is not None and bases.base is not None
    assert other.base.value == bases.base.value != other.perplexity.value
    logits = patched.with_name("logits")
    score(stories, prose, WINDOW, save_logits=logits, settings=SHORT)
    of_file = patched.with_name("of_file")
    score(patched, prose, save_logits=of_file, settings=SHORT)
    assert logits.read_bytes() == of_file.read_bytes()


def test_the_clamp_is_all_that_a_base_file_changes(
    stories: Path, patched: Path, prose: Path
) -> None:
    exact = score(patched, prose, reference=gs.ModelReference(stories), settings=SHORT).comparison
    clamped = score(
        patched, prose, reference=gs.LogitsFileReference(TOOLS_BASE), settings=SHORT
    ).comparison
    assert exact is not None and clamped is not None
    assert clamped.kl.mean.value == pytest.approx(exact.kl.mean.value, rel=1e-3)
    assert clamped.base_perplexity != exact.base_perplexity
    assert exact.base_perplexity.value == pytest.approx(58.0107, rel=1e-4), "as without a base"


def plain_divergence(q: Any, base: Any, targets: Any) -> dict[str, float]:
    """By the textbook, in double precision."""

    def log_softmax(logits: Any) -> Any:
        logits = logits.astype(np.float64)
        return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))

    q, base = log_softmax(q), log_softmax(base)
    at = targets[..., np.newaxis]
    mine, other = (-np.take_along_axis(side, at, axis=-1).reshape(-1) for side in (q, base))
    ratio = (mine - other).reshape(targets.shape)
    n, n_chunks = mine.size, len(targets)
    return {
        "ln_ratio": ratio.mean(),
        "error": ratio.std() / math.sqrt(n - 1),
        "over_chunks": ratio.mean(axis=1).std(ddof=1) / math.sqrt(n_chunks),
        "correlation": np.corrcoef(mine, other)[0, 1],
        "kl": (np.exp(base) * (base - q)).sum(axis=-1).mean(),
        "delta_p": (np.exp(-mine) - np.exp(-other)).mean(),
        "same_top": (q.argmax(axis=-1) == base.argmax(axis=-1)).mean(),
    }


def compared(q: Any, base: Any, targets: Any, is_quantised: bool) -> PairedScores:
    """Logits [n_chunks, n_scored, n_vocab]."""
    n_vocab = q.shape[-1]
    rows = base.reshape(-1, n_vocab)
    base = BaseRows(quantised(rows) if is_quantised else rows, n_vocab)
    found = score_rows(q.reshape(-1, n_vocab), targets.reshape(-1), base)
    assert found.paired is not None
    return found.paired.each(lambda values: values.reshape(targets.shape))


@pytest.mark.parametrize("is_quantised", [False, True])
@pytest.mark.parametrize("n_vocab", [100, 101])
def test_statistics_are_the_textbooks(is_quantised: bool, n_vocab: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 2, (5, 70, n_vocab)).astype(np.float32)
    q = (base + rng.normal(0, 0.5, base.shape)).astype(np.float32)
    targets = rng.integers(0, n_vocab, (5, 70)).astype(np.int32)
    found = compare_scores(compared(q, base, targets, is_quantised))
    given = {
        "ln_ratio": found.ln_ratio.value,
        "error": found.ln_ratio.error,
        "over_chunks": found.ln_ratio_error_over_chunks,
        "correlation": found.correlation,
        "kl": found.kl.mean.value,
        "delta_p": found.delta_p.mean.value,
        "same_top": found.same_top.value,
    }
    tolerance = 1e-3 if is_quantised else 1e-9
    assert given == pytest.approx(plain_divergence(q, base, targets), rel=tolerance, abs=tolerance)


def test_a_model_does_not_differ_from_itself(stories: Path, prose: Path) -> None:
    found = score(stories, prose, reference=gs.ModelReference(stories), settings=SHORT).comparison
    assert found is not None
    assert found.ln_ratio.value == found.ln_ratio.error == 0
    assert found.difference.error == pytest.approx(0, abs=1e-5)  # errors that cancel
    assert found.correlation == pytest.approx(1)
    assert abs(found.kl.maximum) < 1e-12 and found.same_top == Estimate(1, 0)
    assert found.rms_delta_p == Estimate(0, 0)
    assert "NaN" not in json.dumps(asdict(found))


def test_masked_logits_are_no_difference() -> None:
    logits = np.random.default_rng(0).normal(0, 1, (1, 100, 8)).astype(np.float32)
    logits[..., 5] = -np.inf
    targets = np.zeros((1, 100), dtype=np.int32)
    for is_quantised in (False, True):
        found = compare_scores(compared(logits, logits, targets, is_quantised))
        assert abs(found.kl.mean.value) < 1e-6


def test_few_tokens_are_no_statistics(stories: Path, prose: Path) -> None:
    settings = TextSettings(64, 3)
    with pytest.raises(UsageError, match=r"93 scored tokens are too few .*: 100 are needed"):
        score(stories, prose, WINDOW, settings=settings)
    alone = score(stories, prose, save_logits=prose.with_name("l"), settings=settings)
    assert alone.comparison is None and alone.perplexity.n_scored == 93


def test_broken_weights_save_nothing(stories: Path, tmp_path: Path, prose: Path) -> None:
    data = bytearray(stories.read_bytes())
    data[-4096:] = np.full(1024, np.nan, dtype=np.float32).tobytes()
    broken = tmp_path / "nan.gguf"
    broken.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    for save, base in ((None, gs.LogitsFileReference(TOOLS_BASE)), (tmp_path / "logits", None)):
        with pytest.raises(MalformedFileError, match=r"nan\.gguf: its logits are not finite"):
            score(broken, prose, reference=base, save_logits=save, settings=SHORT)
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_overwritten(stories: Path, tmp_path: Path, prose: Path) -> None:
    saved = tmp_path / "logits"
    saved.write_text("mine")
    with pytest.raises(RefusedError, match="exists"):
        score(stories, prose, save_logits=saved, settings=SHORT)
    assert saved.read_text() == "mine"
    score(stories, prose, save_logits=saved, replace=True, settings=SHORT)
    with pytest.raises(RefusedError, match="is the source"):
        score(
            stories,
            prose,
            reference=gs.LogitsFileReference(saved),
            save_logits=saved,
            replace=True,
            settings=SHORT,
        )
    assert_logits_file(saved.read_bytes())


def test_no_stride(stories: Path, prose: Path) -> None:
    with pytest.raises(UsageError, match="a stride cannot be combined"):
        score(stories, prose, WINDOW, settings=TextSettings(64, stride=8))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tokens: [*tokens[:259], *tokens[259:][::-1]], "different tokens, first in chunk 0"),
        (lambda tokens: [*tokens[:259], *tokens[259:][::-1], "more"], "different tokens, first"),
    ],
)
def test_another_vocabulary_is_noticed_before_anything_runs(
    stories: Path, prose: Path, tmp_path: Path, change: Callable[[Any], Any], says: str
) -> None:
    """The base has one tensor, and no weights that run: they are not looked for."""
    tokens, scores, types = (
        open_gguf(stories).header.get(f"tokenizer.ggml.{name}")
        for name in ("tokens", "scores", "token_type")
    )
    assert isinstance(scores, list) and isinstance(types, list)
    changed = change(tokens)
    writer = GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(changed)
    writer.add_token_scores((scores + scores)[: len(changed)])
    writer.add_token_types([*types, 1][: len(changed)])
    writer.add_tensor("token_embd.weight", np.zeros((1, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UsageError, match=says):
        score(stories, prose, reference=gs.ModelReference(tmp_path / "base.gguf"), settings=SHORT)
