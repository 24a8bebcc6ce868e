"""The one entry: `verify_patched`. Structure first; a file that passes is loaded and run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, MissingExtraError, UsageError
from ggufsurgeon.layer_path.notations import parse_layers
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.child import run_in_child
from ggufsurgeon.llama.device_use import DeviceUse, recorded_use
from ggufsurgeon.llama.model import DeviceOptions, loaded_model
from ggufsurgeon.planning.blocks import find_blocks
from ggufsurgeon.planning.memory import DeviceSettings, footprint_of, suggest_split
from ggufsurgeon.planning.provenance import read_provenance
from ggufsurgeon.progress import UNWATCHED, Progress
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.embedding import Embedding, embed_text
from ggufsurgeon.verification.generation import Generation, generate_greedily
from ggufsurgeon.verification.quality import Perplexity, PerplexitySettings, measure_perplexity
from ggufsurgeon.verification.structure import (
    check_against_gguf_py,
    check_metadata,
    check_tensors,
)

PROMPT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n"
NATIVE_BYTE_ORDER = "<" if sys.byteorder == "little" else ">"
N_GENERATED = 16
"""Tokens of the short generation."""


@dataclass(frozen=True)
class ModelRun:
    """What llama.cpp made of a file, and of a text: an encoder embeds it, others go on with it.

    Neither where there is a reason.
    """

    n_blocks: int
    no_text: str
    generation: Generation | None
    perplexity: Perplexity | None
    embedding: Embedding | None = None
    devices: tuple[DeviceUse, ...] = ()


@dataclass(frozen=True)
class Verification:
    """The outcome for one patched file."""

    patched: Path
    source: Path
    layer_path: str
    checks: tuple[Check, ...]
    source_run: ModelRun | None = None
    patched_run: ModelRun | None = None
    missing: MissingExtraError | None = None
    """What kept the models from being run."""
    suggested_split: tuple[int, ...] | None = None
    """A --tensor-split that balances the patched model's bytes, where the devices are uneven."""

    @property
    def ok(self) -> bool:
        """Nothing that was looked at failed."""
        return all(check.ok is not False for check in self.checks)


def verify_patched(
    patched: GgufFile,
    source: GgufFile,
    settings: PerplexitySettings,
    options: DeviceOptions,
    progress: Progress = UNWATCHED,
) -> Verification:
    """Prove that `patched` is what its layer path makes of `source`.

    Raises UsageError when `patched` does not say which layer path it has, MalformedFileError
    when that is none over `source`.
    """
    made_from, claimed = _claim(patched, source)
    outcome = partial(Verification, patched.path, source.path, claimed)
    if made_from != source.header_sha256:
        detail = "the patched file was made from another file: the header's SHA-256 differs"
        return outcome((Check("source", False, detail),))
    path = _path_over(claimed, patched, source)
    checks = list(_structure_checks(patched, source, path, progress))
    if any(check.ok is False for check in checks):
        return outcome((*checks, Check("runs", None, "not tried: the structure is wrong")))
    if source.header.byte_order != NATIVE_BYTE_ORDER:
        detail = "not tried: llama.cpp reads files of this machine's byte order alone"
        return outcome((*checks, Check("runs", None, detail)))
    try:
        runs = [_run(file, settings, options, progress) for file in (source, patched)]
    except MissingExtraError as error:
        return outcome((*checks, Check("runs", None, str(error))), missing=error)
    checks += _run_checks(runs[0], runs[1], len(path) - find_blocks(source).n_mtp)
    source_run, patched_run = (None if isinstance(run, str) else run for run in runs)
    split = _suggest_split(patched, patched_run, options, settings.n_ctx) if patched_run else None
    return outcome(tuple(checks), source_run, patched_run, suggested_split=split)


def _claim(patched: GgufFile, source: GgufFile) -> tuple[str, str]:
    """The SHA-256 of the header that `patched` says it came from, and its layer path."""
    if patched.header_sha256 == source.header_sha256:
        return source.header_sha256, str(LayerPath.identity(len(find_blocks(source))))
    provenance = read_provenance(patched.header)
    if provenance is None:
        hint = ""
        if read_provenance(source.header) is not None:
            hint = f"{source.path} is a patched file: are the two swapped?"
        raise UsageError(
            f"{patched.path} does not say which layer path it has: ggufsurgeon did not write it",
            hint=hint,
        )
    return provenance.source_header_sha256, provenance.blocks


def _path_over(claimed: str, patched: GgufFile, source: GgufFile) -> LayerPath:
    try:
        path = parse_layers(claimed)
        path.check_within(len(find_blocks(source)))
    except UsageError as error:
        problem = f"its layer path is none over {source.path}: {error}"
        raise MalformedFileError(str(patched.path), problem) from None
    return path


def _structure_checks(
    patched: GgufFile, source: GgufFile, path: LayerPath, progress: Progress
) -> Iterator[Check]:
    is_copy = patched.header_sha256 == source.header_sha256
    named = "the headers are identical: a copy of the source"
    detail = named if is_copy else "its header has the SHA-256 that the patched file names"
    yield Check("source", True, detail)
    yield check_metadata(patched, source, path)
    yield check_tensors(patched, source, path.blocks, progress)
    yield check_against_gguf_py(patched)


def _run(
    file: GgufFile, settings: PerplexitySettings, options: DeviceOptions, progress: Progress
) -> ModelRun | str:
    """What became of the model in llama.cpp, or why nothing did."""
    try:
        return run_in_child(
            run_model, file.path, settings, options, model=file.path, progress=progress
        )
    except MalformedFileError as error:
        return str(error)


def _run_checks(source: ModelRun | str, patched: ModelRun | str, n_blocks: int) -> Iterator[Check]:
    for name, run in (("source runs", source), ("patched runs", patched)):
        if isinstance(run, str):
            yield Check(name, False, run)
        elif run.embedding is not None:
            what = f"{run.embedding.n_tokens} tokens in {run.embedding.n_embd} dimensions"
            yield Check(name, True, f"loads, embeds {what}")
        elif run.perplexity is None:
            yield Check(name, True, f"loads; {run.no_text}, so no text was run")
        else:
            yield Check(name, True, f"loads, generates, perplexity {run.perplexity.perplexity:.4f}")
    if isinstance(patched, ModelRun):
        detail = f"llama.cpp runs {patched.n_blocks} of {n_blocks}"
        yield Check("blocks", patched.n_blocks == n_blocks, detail)


def _suggest_split(
    patched: GgufFile, run: ModelRun, options: DeviceOptions, n_ctx: int
) -> tuple[int, ...] | None:
    """One that fills the devices evenly; None where that is so, or is not known."""
    memory = tuple(use.n_bytes_memory for use in run.devices if use.device != "CPU")
    shares = options.tensor_split or tuple(map(float, memory))
    if len(shares) != len(memory) or not all(memory):
        return None
    n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    settings = DeviceSettings(shares, n_gpu_layers, n_ctx, memory)
    return suggest_split(footprint_of(patched), settings)


def run_model(
    path: Path, settings: PerplexitySettings, options: DeviceOptions, progress: Progress
) -> ModelRun:
    """Load a model, let it speak, and measure its perplexity on the text of this package.

    An encoder embeds the beginning of that text instead.
    """
    with recorded_use() as use:
        run = _run_loaded(path, settings, options, progress)
    return replace(run, devices=use.devices())


def _run_loaded(
    path: Path, settings: PerplexitySettings, options: DeviceOptions, progress: Progress
) -> ModelRun:
    with loaded_model(path, options) as model:
        if model.no_text:
            is_embedder = model.is_encoder and model.has_tokenizer
            embedding = embed_text(model, PROMPT) if is_embedder else None
            return ModelRun(model.n_blocks, model.no_text, None, None, embedding)
        said = generate_greedily(model, PROMPT, N_GENERATED)
        settings = replace(settings, n_ctx=min(settings.n_ctx, model.n_ctx_train))
        quality = measure_perplexity(model, shakespeare(), settings, progress)
        return ModelRun(model.n_blocks, "", said, quality)


def shakespeare() -> bytes:
    """The text that ships with the package (see texts/README.md)."""
    return files("ggufsurgeon.verification").joinpath("texts/shakespeare.txt").read_bytes()


def measure_file(
    path: Path,
    text: bytes,
    settings: PerplexitySettings,
    options: DeviceOptions,
    progress: Progress,
) -> Perplexity:
    """The perplexity of the model at `path` on `text`, and the devices that it ran on."""
    with recorded_use() as use, loaded_model(path, options) as model:
        measured = measure_perplexity(model, text, settings, progress)
    return replace(measured, devices=use.devices())
