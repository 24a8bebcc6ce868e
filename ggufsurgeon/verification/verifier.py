"""The one entry: `verify_patched`. Structure first; a file that passes is loaded and run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, MissingExtraError, UsageError
from ggufsurgeon.layer_path.notations import parse_layers
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.llama.child import run_in_child
from ggufsurgeon.llama.model import DeviceOptions, loaded_model
from ggufsurgeon.planning.blocks import find_blocks
from ggufsurgeon.planning.provenance import read_provenance
from ggufsurgeon.progress import UNWATCHED, Progress
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.generation import Generation, generate_greedily
from ggufsurgeon.verification.quality import Perplexity, PerplexitySettings, measure_perplexity
from ggufsurgeon.verification.structure import (
    check_against_gguf_py,
    check_metadata,
    check_tensors,
)

PROMPT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n"
N_GENERATED = 16
"""Tokens of the short generation."""


@dataclass(frozen=True)
class ModelRun:
    """What llama.cpp made of a file. Text needs a tokenizer: without one there is none."""

    n_blocks: int
    generation: Generation | None
    perplexity: Perplexity | None


@dataclass(frozen=True)
class Verification:
    """The outcome for one patched file."""

    patched: Path
    source: Path
    layer_path: LayerPath
    checks: tuple[Check, ...]
    source_run: ModelRun | None = None
    patched_run: ModelRun | None = None
    missing: MissingExtraError | None = None
    """What kept the models from being run."""

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
    path, made_from = _claim(patched, source)
    checks = list(_structure_checks(patched, source, path, made_from, progress))
    outcome = partial(Verification, patched.path, source.path, path)
    if any(check.ok is False for check in checks):
        return outcome((*checks, Check("runs", None, "not tried: the structure is wrong")))
    try:
        runs = [_run(file, settings, options, progress) for file in (source, patched)]
    except MissingExtraError as error:
        return outcome((*checks, Check("runs", None, str(error))), missing=error)
    checks += _run_checks(runs[0], runs[1], len(path) - find_blocks(source).n_mtp)
    source_run, patched_run = (None if isinstance(run, str) else run for run in runs)
    return outcome(tuple(checks), source_run, patched_run)


def _claim(patched: GgufFile, source: GgufFile) -> tuple[LayerPath, str]:
    """The layer path that `patched` says it has, and the SHA-256 of the header it came from."""
    n_blocks = len(find_blocks(source))
    if patched.header_sha256 == source.header_sha256:
        return LayerPath.identity(n_blocks), source.header_sha256
    provenance = read_provenance(patched.header)
    if provenance is None:
        raise UsageError(
            f"{patched.path} does not say which layer path it has: ggufsurgeon did not write it"
        )
    try:
        path = parse_layers(provenance.blocks)
        path.check_within(n_blocks)
    except UsageError as error:
        problem = f"its layer path is none over {source.path}: {error}"
        raise MalformedFileError(str(patched.path), problem) from None
    return path, provenance.source_header_sha256


def _structure_checks(
    patched: GgufFile, source: GgufFile, path: LayerPath, made_from: str, progress: Progress
) -> Iterator[Check]:
    same = made_from == source.header_sha256
    detail = "the header has the SHA-256 that the patched file names"
    yield Check("source", same, detail if same else "another source: the header's SHA-256 differs")
    if same:
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
        elif run.perplexity is None:
            yield Check(name, True, "loads; it has no tokenizer, so no text was run")
        else:
            yield Check(name, True, f"loads, generates, perplexity {run.perplexity.perplexity:.4f}")
    if isinstance(patched, ModelRun):
        detail = f"llama.cpp runs {patched.n_blocks} of {n_blocks}"
        yield Check("blocks", patched.n_blocks == n_blocks, detail)


def run_model(
    path: Path, settings: PerplexitySettings, options: DeviceOptions, progress: Progress
) -> ModelRun:
    """Load a model, let it speak, and measure its perplexity on the text of this package."""
    with loaded_model(path, options) as model:
        if not model.has_tokenizer:
            return ModelRun(model.n_blocks, None, None)
        said = generate_greedily(model, PROMPT, N_GENERATED)
        quality = measure_perplexity(model, shakespeare(), settings, progress)
        return ModelRun(model.n_blocks, said, quality)


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
    """The perplexity of the model at `path` on `text`."""
    with loaded_model(path, options) as model:
        return measure_perplexity(model, text, settings, progress)
