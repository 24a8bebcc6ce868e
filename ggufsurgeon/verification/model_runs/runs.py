"""Runs of the source and the patched file in llama.cpp, and the checks that compare them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import EngineError, MalformedFileError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.provenance import is_scaled
from ggufsurgeon.progress import Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.sizing.prediction import DeviceSettings, footprint_of, suggest_split
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.model_runs.equivalence import Equivalence, Noise, Sample, compare
from ggufsurgeon.verification.model_runs.model_run import (
    ModelRun,
    SampledRun,
    plain_sample,
    run_model,
    shakespeare,
)
from ggufsurgeon.verification.model_runs.yardstick import measure_noise
from ggufsurgeon.verification.tokens import check_tokens
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.worker import Worker


@dataclass(frozen=True)
class Runs:
    """The results of both files, as far as they were run."""

    checks: tuple[Check, ...] = ()
    source: ModelRun | None = None
    patched: ModelRun | None = None
    equivalence: Equivalence | None = None
    """Of the written file and the routed source."""
    aliased_equivalence: Equivalence | None = None
    """Of the written file and the aliased source."""
    suggested_split: tuple[int, ...] | None = None
    """A --tensor-split that balances the patched model's bytes, where the devices are uneven."""
    hindrance: EngineError | None = None
    """What ended a run through no fault of the file, such as a lack of memory."""


NOT_RUN = Runs()
NOT_COMPARED = "not compared: not both models ran"
_Ran: TypeAlias = "SampledRun | MalformedFileError | EngineError"


def run_both(
    sources: Sequence[GgufFile],
    patched: GgufFile,
    path: LayerPath,
    outside: OutsideBlocks | None,
    settings: TextSettings | None,
    options: Devices,
    progress: Progress,
) -> Runs:
    """The sources along their trunks' part of `path`, then the patched file as it is.

    The sources are in memory together, and never beside the patched file. `outside` are the models
    of what is outside the blocks, None for those beside it. `settings` are of the perplexity; None
    leaves it out. Raises MissingExtraError when there is no llama.cpp.
    """
    trunk = LayerPath(path.steps[: len(path) - find_blocks(sources[0]).n_mtp])
    scales = is_scaled(patched.header)
    paths = tuple(file.path for file in sources)
    of_sources = ModelPaths(paths[0], paths[1:], outside)
    outside = outside or OutsideBlocks.beside(trunk)
    ran = _run(of_sources, trunk, scales, None, settings, options, progress=progress)
    prompt = _prompt_of(ran)
    then = _run(ModelPaths(patched.path), None, False, prompt, settings, options, progress=progress)
    runs = [one.run if isinstance(one, SampledRun) else one for one in (ran, then)]
    checks = list(_run_checks(runs[0], runs[1], len(trunk)))
    found: list[Equivalence | None] = [None, None]
    if isinstance(ran, SampledRun) and isinstance(then, SampledRun):
        on_cpu = partial(_run_on_cpu, paths[0], prompt, options, progress)
        noise = None if scales else measure_noise(ran, then, trunk, outside.output, on_cpu)
        for n, (way, sample) in enumerate((("routed", ran.sample), ("aliased", ran.aliased))):
            check, found[n] = _check_equivalence(way, sample, then.sample, noise)
            checks.append(check)
        checks += check_tokens(
            sources[outside.tokenizer], ran.run.tokens, then.run.tokens, shakespeare()
        )
    hindrance = next((one for one in (ran, then) if isinstance(one, EngineError)), None)
    if hindrance is not None:
        checks += [Check(f"{way} = written", None, NOT_COMPARED) for way in ("routed", "aliased")]
    first, second = (run if isinstance(run, ModelRun) else None for run in runs)
    split = _suggest_split(patched, second, options, settings) if second else None
    return Runs(tuple(checks), first, second, found[0], found[1], split, hindrance)


def _prompt_of(ran: _Ran) -> Integers | None:
    """The prompt of a run that has a sample, which the next run is to take too."""
    samples = (ran.sample, ran.aliased) if isinstance(ran, SampledRun) else ()
    return next((sample.prompt for sample in samples if isinstance(sample, Sample)), None)


def _run(models: ModelPaths, *arguments: object, progress: Progress) -> _Ran:
    """The results of a model or several, or the error that kept it from running."""
    try:
        with Worker() as worker:
            return worker.run(run_model, models, *arguments, progress=progress)
    except (MalformedFileError, EngineError) as error:
        return error


def _run_on_cpu(
    path: Path, prompt: Integers | None, options: Devices, progress: Progress
) -> Sample | None:
    """The source as it is, with no layer on a GPU or an RPC server; None if it does not run so."""
    if prompt is None:
        return None
    options = Devices(n_gpu_layers=0, n_threads=options.n_threads)
    try:
        with Worker() as worker:
            return worker.run(plain_sample, path, prompt, options, progress=progress)
    except (MalformedFileError, EngineError, UsageError):  # memory, for one
        return None


def _check_equivalence(
    way: str, source: Sample | str, written: Sample | str, noise: Noise | None
) -> tuple[Check, Equivalence | None]:
    """Compare the written file with the source, run along the path in another way."""
    for sample in (source, written):
        if isinstance(sample, str):
            return Check(f"{way} = written", None, f"cannot be {way}: {sample}"), None
    assert isinstance(source, Sample) and isinstance(written, Sample)
    found = compare(source, written, noise)
    what = "logits" if source.are_logits else "embeddings"
    detail = f"{what} of {found.n_tokens} tokens equal to the bit"
    if found.max_abs_diff:
        kl = "" if found.mean_kl is None else f", mean KL divergence {found.mean_kl:.3g}"
        detail = f"{what} differ by up to {found.max_abs_diff:.3g}{kl}{_control(noise)}"
    alike = (
        "within tolerance, without a control run"
        if noise is None
        else "within the noise of the source"
    )
    alike = "equal to the bit" if not found.max_abs_diff else alike
    proven = f"{way} {what} of {found.n_tokens} tokens {alike}"
    return Check(f"{way} = written", found.ok, detail, proven), found


def _control(noise: Noise | None) -> str:
    """What a control run of the source showed, in words."""
    if noise is None:
        return ""
    if noise.max_abs_diff == 0.0:
        return "; runs of the source by itself are equal to the bit"
    kl = "" if noise.mean_kl is None else f", {noise.mean_kl:.3g}"
    return f"; runs of the source by itself, by up to {noise.max_abs_diff:.3g}{kl}"


_Shown: TypeAlias = "ModelRun | MalformedFileError | EngineError"


def _run_checks(source: _Shown, patched: _Shown, n_blocks: int) -> Iterator[Check]:
    for name, run in (("source runs", source), ("patched runs", patched)):
        if not isinstance(run, ModelRun):  # a process that was killed says nothing of the file
            yield Check(name, None if isinstance(run, EngineError) else False, str(run))
        elif run.embedding is not None:
            what = f"{run.embedding.n_tokens} tokens in {run.embedding.n_embd} dimensions"
            yield Check(name, True, f"loads, embeds {what}")
        elif run.generation is None:
            yield Check(name, True, f"loads; {run.no_text}, so no text was run")
        else:
            quality = run.perplexity and f", perplexity {run.perplexity.value:.4f}"
            detail = f"loads, generates {run.generation.n_tokens} tokens{quality or ''}"
            yield Check(
                name, True, detail, (quality and f"perplexity of the {name[:-5]} finite") or ""
            )
    if isinstance(patched, ModelRun):
        detail = f"llama.cpp runs {patched.n_blocks} of {n_blocks}"
        proven = f"{n_blocks} blocks run"
        yield Check("blocks", patched.n_blocks == n_blocks, detail, proven)


def _suggest_split(
    patched: GgufFile, run: ModelRun, options: Devices, settings: TextSettings | None
) -> tuple[int, ...] | None:
    """One that fills the devices evenly; None where that is so, or is not known."""
    memory = tuple(use.n_bytes_memory for use in run.devices if use.device != "CPU")
    shares = options.tensor_split or tuple(map(float, memory))
    if len(shares) != len(memory) or not all(memory):
        return None
    n_gpu_layers = -1 if options.n_gpu_layers is None else options.n_gpu_layers
    n_ctx = (settings or TextSettings()).n_ctx
    where = DeviceSettings(shares, n_gpu_layers, n_ctx, memory, options.overrides)
    return suggest_split(footprint_of(patched, options.overrides), where)
