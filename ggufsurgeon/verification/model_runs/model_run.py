"""A job that runs one file in llama.cpp and collects what is compared; it loads the model once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.devices.device_use import DeviceUse
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import AliasingUnavailableError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import Progress
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.perplexity import measure_perplexity
from ggufsurgeon.statistics.perplexity import Perplexity
from ggufsurgeon.verification.model_runs.embedding import Embedding, embed_text
from ggufsurgeon.verification.model_runs.equivalence import (
    Noise,
    Sample,
    draw_prompt,
    noise_between,
    take_control,
    take_sample,
)
from ggufsurgeon.verification.model_runs.generation import Generation, generate_greedily
from ggufsurgeon.verification.tokens import Tokens, read_text
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session

PROMPT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n"
N_GENERATED = 16
"""Tokens of the short generation."""


@dataclass(frozen=True)
class ModelRun:
    """The results of one file in llama.cpp: an encoder embeds a text, other models continue it.

    `no_text` says why a model does neither; perplexity is measured only where it is asked for.
    """

    n_blocks: int
    no_text: str
    generation: Generation | None = None
    perplexity: Perplexity | None = None
    embedding: Embedding | None = None
    devices: tuple[DeviceUse, ...] = ()
    tokens: Tokens | None = None
    """The tokens of the text of this package; None without a tokenizer."""


class SampledRun(NamedTuple):
    """The results of a model, and its samples for a prompt, or the reasons that there are none."""

    run: ModelRun
    sample: Sample | str
    """Routed along the layer path, if there is one."""
    aliased: Sample | str
    """Aliased along the layer path; that of the model as it is without one."""
    plain: Sample | None = None
    """Of the source as it is, for control, where other devices than CPUs compute."""
    noise: Noise | None = None
    """Between `plain` and the source with the taps that the layer path needs."""
    uses: tuple[tuple[DeviceUse, ...], ...] = ()
    """What each device holds of each source."""


def run_model(
    session: Session,
    models: ModelPaths,
    layer_path: LayerPath | None,
    scale_weights: bool,
    prompt: Integers | None,
    settings: TextSettings | None,
    options: Devices,
    reporter: Reporter,
) -> SampledRun:
    """Load models once, and collect all that is compared or shown of them.

    First its results for `prompt` (None: one that this model draws) along `layer_path` (None: as
    it is), or why they cannot be had; then the tokens of the text of this package, a greedy
    continuation, and, with `settings`, the perplexity on that text, of the first model as it is. An
    encoder embeds the beginning of the text instead.
    """
    sources = models.loaded(session, options)
    prompt = draw_prompt(sources.tokenizer, shakespeare()) if prompt is None else prompt
    try:
        sample: Sample | str = take_sample(sources, layer_path, prompt)
    except RefusedError as error:
        sample = str(error)
    aliased = sample
    if layer_path is not None:
        aliased = _aliased_sample(sources, layer_path, scale_weights, prompt)
    run = _run(sources.models[0], settings, reporter)
    reader = sources.tokenizer
    tokens = read_text(reader, shakespeare()) if reader.has_tokenizer else None
    run = replace(run, devices=sources.devices_in_turn(), tokens=tokens)
    found = SampledRun(run, sample, aliased, uses=sources.devices())
    if layer_path is None or not on_other_devices(run.devices):
        return found
    plain, noise = _control(sources, layer_path, prompt)
    return found._replace(plain=plain, noise=noise)


def plain_sample(
    session: Session, path: Path, prompt: Integers, options: Devices, _reporter: Reporter
) -> Sample:
    """The results of a model as it is for `prompt`."""
    return take_sample(session.model(path, options), None, prompt)


def on_other_devices(devices: Sequence[DeviceUse]) -> bool:
    """Whether something else than a CPU computes."""
    return any(use.device != "CPU" for use in devices)


def _control(
    sources: Sources, layer_path: LayerPath, prompt: Integers
) -> tuple[Sample | None, Noise | None]:
    try:
        return take_control(sources, layer_path, prompt)
    except RefusedError:  # then only the aliased path is compared, and that takes no taps
        plain = take_sample(sources, None, prompt)
        return plain, noise_between(plain, take_sample(sources, None, prompt))


def _aliased_sample(
    sources: Sources, layer_path: LayerPath, scale_weights: bool, prompt: Integers
) -> Sample | str:
    try:
        with alias(sources, layer_path, scale_weights=scale_weights) as aliased:
            return take_sample(aliased, None, prompt)
    except (AliasingUnavailableError, RefusedError) as error:
        return str(error)


def _run(model: Model, settings: TextSettings | None, progress: Progress) -> ModelRun:
    if model.no_text:
        is_embedder = model.is_encoder and model.has_tokenizer
        embedding = embed_text(model, PROMPT) if is_embedder else None
        return ModelRun(model.n_blocks, model.no_text, embedding=embedding)
    said = generate_greedily(model, PROMPT, N_GENERATED)
    if settings is None:
        return ModelRun(model.n_blocks, "", said)
    settings = replace(settings, n_ctx=min(settings.n_ctx, model.n_ctx_train))
    quality = measure_perplexity(model, shakespeare(), settings, progress)
    return ModelRun(model.n_blocks, "", said, quality)


def shakespeare() -> bytes:
    """The text that ships with the package (see texts/README.md)."""
    return files("ggufsurgeon.verification").joinpath("texts/shakespeare.txt").read_bytes()
