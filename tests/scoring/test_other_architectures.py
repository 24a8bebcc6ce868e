"""Architectures unlike llama: the figures of llama-perplexity, or why there are none.

The models are made here, of the headers among the fixtures; `tiny_command` in
fixtures/llama_perplexity.json makes the same for the tool.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ggufsurgeon as gs
from ggufsurgeon.layer_path.edits import repeat
from tests.calls import patch, score
from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.models.builders import BOOL, pair
from tests.models.expanding import expand, expand_named
from tests.pinned import assert_pinned

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.perplexity import measure_perplexity
from ggufsurgeon.verification.model_runs.model_run import shakespeare
from tests.scoring.test_divergence import as_printed

pytestmark = pytest.mark.slow

PINNED = json.loads((ROOT / "fixtures/llama_perplexity.json").read_text())
SHAPE = ("n_ctx", "n_chunks", "n_batch")
ONE_THREAD = Devices(n_threads=1)
"""So small models gain nothing by two, and wait for each other where others want the machine."""
Make = Callable[[str], Path]
Write = Callable[..., Path]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that does not outlive its test: the models have up to 40 MB."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def make(folder: Path) -> Make:
    """Write the very model that the tool was given."""

    def made(name: str) -> Path:
        pinned = PINNED["tiny_models"][name]
        path = expand_named(name, folder / "model.gguf", pinned["scale"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest == pinned["sha256"], "other weights than those that were measured"
        return path

    return made


def settings_of(figure: dict[str, Any]) -> TextSettings:
    n_ctx, n_chunks, n_batch = (figure[key] for key in SHAPE)
    return TextSettings(n_ctx, n_chunks, n_batch, figure.get("stride"))


def named(figure: dict[str, Any]) -> str:
    return "-".join(str(figure[key]) for key in ("model", *SHAPE))


def assert_printed(value: float, printed: str) -> None:
    n_digits = len(printed.partition(".")[2])
    assert_pinned(f"{value:.{n_digits}f}", printed)


@pytest.mark.parametrize("name", PINNED["tiny_models"])
def test_figures_are_llama_perplexitys(name: str, make: Make) -> None:
    figures = [figure for figure in PINNED["tiny_figures"] if figure["model"] == name]
    assert len(figures) >= 2
    with loaded_model(make(name), ONE_THREAD) as model:
        for figure in figures:
            found = measure_perplexity(model, shakespeare(), settings_of(figure))
            assert_printed(found.value, figure["perplexity"])
            if figure["error"] is not None:  # with a stride, the tool prints none
                assert_printed(found.error, figure["error"])


def test_the_command_prints_them(surgeon: Run, make: Make, write: Write) -> None:
    figure = next(figure for figure in PINNED["tiny_figures"] if "stride" not in figure)
    shape = (f"--{option}={figure[f'n_{option}']}" for option in ("ctx", "batch", "chunks"))
    text = ("--text", write(shakespeare(), "prose.txt"), "--threads", "1")
    done = surgeon("perplexity", make(figure["model"]), *text, *shape)
    (printed,) = re.findall(r"\d+\.\d+ \+/- \d+\.\d+", done.stdout)
    assert_pinned(printed, f"{figure['perplexity']} +/- {figure['error']}")


@pytest.mark.parametrize("figure", PINNED["tiny_divergences"], ids=named)
def test_divergences_are_llama_perplexitys(
    figure: dict[str, Any], make: Make, folder: Path
) -> None:
    model, patched, base = make(figure["model"]), folder / "patched.gguf", folder / "base"
    patch(model, patched, repeat(figure["window"]))
    run = partial(score, text=shakespeare(), settings=settings_of(figure), devices=ONE_THREAD)
    run(model, save_logits=base)
    found = run(patched, reference=gs.LogitsFileReference(base))
    assert found.comparison is not None
    assert_pinned(as_printed(found.comparison), figure["printed"])


WINDOWS = {"gemma3-dense": "3:6", "rwkv7-dense": "3:6", "gemma3n-dense": "20:22"}


@pytest.mark.parametrize("name", PINNED["tiny_models"])
def test_routed_is_what_the_written_file_gives(name: str, make: Make, folder: Path) -> None:
    """To the bit: batches are the same, and so are caches of sliding windows."""
    model, patched = make(name), folder / "patched.gguf"
    window = repeat(WINDOWS.get(name.partition("@")[0], "1:2"))
    patch(model, patched, window)
    for shape in ((50, 10, 200), (300, 4, 128)):
        run = partial(
            score,
            text=shakespeare(),
            settings=TextSettings(*shape),
            devices=ONE_THREAD,
        )
        routed = run(model, path=window)
        assert routed.base is not None
        assert routed.perplexity.value == run(patched).perplexity.value
        assert routed.base.value == run(model).perplexity.value


@pytest.mark.parametrize(
    ("stem", "options", "says"),
    [
        ("bert-dense", (), "is an encoder, which makes embeddings and does not predict the next"),
        ("bert-dense", ("--window", "1:3"), "it is an encoder"),
        ("llada-dense", (), "is a diffusion model, which does not predict the next token"),
        ("chameleon-dense", (), "it has no tokenizer"),
    ],
)
def test_what_predicts_no_next_token_is_refused(
    surgeon: Run, folder: Path, write: Write, stem: str, options: tuple[str, ...], says: str
) -> None:
    """llama-perplexity gives encoders the figure of chance, and diffusion models one too."""
    model = expand_named(stem, folder / "model.gguf")
    text = ("--text", write(shakespeare(), "prose.txt"), "--ctx", "64")
    assert_told(surgeon("perplexity", model, *text, *options), 2, says)


def test_a_vocabulary_that_ends_texts_is_refused(surgeon: Run, folder: Path, write: Write) -> None:
    """llama-perplexity ends the process on it (tools/perplexity/perplexity.cpp:456)."""
    header = (ROOT / "fixtures/arch_headers/gemma3-dense.gguf").read_bytes()
    alike = pair("tokenizer.ggml.add_eos_token", BOOL, False)
    assert header.count(alike) == 1
    ending = header.replace(alike, pair("tokenizer.ggml.add_eos_token", BOOL, True))
    model = expand(write(ending), folder / "model.gguf", 0)
    text = ("--text", write(shakespeare(), "prose.txt"), "--ctx", "64")
    assert_told(surgeon("perplexity", model, *text), 2, "ends every text with EOS")


def test_of_two_models_the_one_that_runs_is_named(surgeon: Run, folder: Path, write: Write) -> None:
    """llama.cpp aborts on this architecture where three sequences share two micro-batches.

    The base runs each group of chunks first.
    """
    one, other = (
        expand_named("kimi-linear-moe@words=stories260K", folder / f"{name}.gguf")
        for name in ("one", "other")
    )
    text = ("--text", write(shakespeare(), "prose.txt"), "--ctx", "200", "--batch", "600")
    done = surgeon("perplexity", one, "--base", other, *text)
    assert done.returncode == 3 and f"{other}: llama.cpp crashed on it" in done.stderr
