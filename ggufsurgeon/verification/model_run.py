"""What llama.cpp makes of one file: jobs for a child process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.device_use import DeviceUse, recorded_use
from ggufsurgeon.engine.model import DeviceOptions, Model, loaded_model
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import Progress
from ggufsurgeon.scoring.perplexity import (
    Perplexity,
    PerplexitySettings,
    measure_perplexity,
)
from ggufsurgeon.verification.embedding import Embedding, embed_text
from ggufsurgeon.verification.equivalence import Sample, draw_prompt, take_sample
from ggufsurgeon.verification.generation import Generation, generate_greedily

PROMPT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n"
N_GENERATED = 16
"""Tokens of the short generation."""


@dataclass(frozen=True)
class ModelRun:
    """What llama.cpp made of a file, and of a text: an encoder embeds it, others go on with it.

    Neither where there is a reason.
    """

    n_blocks: int
    no_text: str
    generation: Generation | None = None
    perplexity: Perplexity | None = None
    embedding: Embedding | None = None
    devices: tuple[DeviceUse, ...] = ()


def run_model(
    path: Path,
    layer_path: LayerPath | None,
    prompt: Integers | None,
    settings: PerplexitySettings,
    options: DeviceOptions,
    progress: Progress,
) -> tuple[ModelRun, Sample | str]:
    """Load a model once, and let it show all that it can.

    First its results for `prompt` (None: one that this model draws) along `layer_path` (None: as
    it is), or why they cannot be had; then a few words, and the perplexity on the text of this
    package. An encoder embeds the beginning of that text instead.
    """
    with recorded_use() as use, loaded_model(path, options) as model:
        prompt = draw_prompt(model, shakespeare()) if prompt is None else prompt
        try:
            sample: Sample | str = take_sample(model, layer_path, prompt)
        except RefusedError as error:
            sample = str(error)
        run = _run(model, settings, progress)
    return replace(run, devices=use.devices()), sample


def _run(model: Model, settings: PerplexitySettings, progress: Progress) -> ModelRun:
    if model.no_text:
        is_embedder = model.is_encoder and model.has_tokenizer
        embedding = embed_text(model, PROMPT) if is_embedder else None
        return ModelRun(model.n_blocks, model.no_text, embedding=embedding)
    said = generate_greedily(model, PROMPT, N_GENERATED)
    settings = replace(settings, n_ctx=min(settings.n_ctx, model.n_ctx_train))
    quality = measure_perplexity(model, shakespeare(), settings, progress)
    return ModelRun(model.n_blocks, "", said, quality)


def shakespeare() -> bytes:
    """The text that ships with the package (see texts/README.md)."""
    return files("ggufsurgeon.verification").joinpath("texts/shakespeare.txt").read_bytes()
