"""Tables and JSON of `ggufsurgeon perplexity` for a model against a base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.devices import print_devices
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.serializers import comparison_as_json, perplexity_as_json
from ggufsurgeon.cli.output.terminal import print_table, print_text

if TYPE_CHECKING:
    from pathlib import Path

    from ggufsurgeon.scoring.results import PathResult
    from ggufsurgeon.scoring.text_sources.texts import Text
    from ggufsurgeon.statistics.divergence import Comparison, Spread
    from ggufsurgeon.statistics.estimate import Estimate
    from ggufsurgeon.statistics.perplexity import Perplexity
    from ggufsurgeon.store.fingerprint import ModelFingerprint


def identities_as_json(
    text: Path, content: Text, model: Path, base: Path | None
) -> dict[str, dict[str, Any]]:
    """What identifies the text, the model and its base; those on the hub are downloaded.

    `base` is None where only its logits are known.
    """
    from ggufsurgeon.store.fingerprint import ModelFingerprint, TextFingerprint

    of_text = TextFingerprint.of(content.content)
    of_base = None if base is None else ModelFingerprint.of(on_disk(base))
    return {
        "text": {"name": text.name, "sha256": of_text.sha256, "n_bytes": of_text.n_bytes},
        "model": {"name": model.name, **_model_as_json(ModelFingerprint.of(on_disk(model)))},
        "base": {"header_sha256": None} if of_base is None else _model_as_json(of_base),
    }


def _model_as_json(model: ModelFingerprint) -> dict[str, Any]:
    return {
        "header_sha256": model.header_sha256,
        "data_fingerprint": model.data_fingerprint,
        "n_bytes": model.n_bytes,
    }


def measured_as_json(
    measured: PathResult, details: bool, identities: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The perplexity of the model; its base and the divergence where there are any."""
    told = _perplexity_as_json(measured.perplexity, details)
    from ggufsurgeon.planning.provenance import this_tool

    told |= {"tool": this_tool(), "text": identities["text"], "model": identities["model"]}
    if measured.layer_path:
        told["layer_path"] = measured.layer_path
    if measured.base is not None:
        told["base"] = {**_perplexity_as_json(measured.base, details), **identities["base"]}
    if measured.base_layer_path:
        told["base"]["layer_path"] = measured.base_layer_path
    if measured.comparison is not None:
        told["perplexity_ratio"] = measured.comparison.ratio.value
        told["divergence"] = comparison_as_json(measured.comparison)
    return told


def _perplexity_as_json(result: Perplexity, details: bool) -> dict[str, Any]:
    return {**perplexity_as_json(result, details=details), "is_partial": result.is_partial}


def along(names: tuple[str, str], measured: PathResult) -> tuple[str, str]:
    """Names of the model and its base, with the layer paths that they were run along."""
    paths = measured.layer_path, measured.base_layer_path
    model, base = (
        f"{name} along {path}" if path else name for name, path in zip(names, paths, strict=True)
    )
    return model, base


def print_measured(measured: PathResult, name: str, base_name: str) -> None:
    """Print the perplexities, their divergence, and whether it is more than noise."""
    comparison = measured.comparison
    reference = None if comparison is None else comparison.base_perplexity.value
    if comparison is not None and comparison.n_common_tokens and measured.base is not None:
        reference = measured.base.value
    rows = [_perplexity_row(name, measured.perplexity, reference)]
    if measured.base is not None:
        rows.append(_perplexity_row(base_name, measured.base, reference))
    title, mine = "Perplexity", measured.perplexity
    if mine.is_partial:
        title += f" (partial, {mine.n_chunks} of {mine.n_chunks_in_all} chunks)"
    columns = ["model", "perplexity", "ratio", "chunks", "scored", "tokens/s"]
    print_table(title, columns, rows)
    sides = [(name, mine)] + ([] if measured.base is None else [(base_name, measured.base)])
    _print_bits_per_byte(sides)
    if comparison is not None:
        _print_divergence(comparison, base_name)
    print_devices([(side, result.devices) for side, result in sides])


def _perplexity_row(name: str, result: Perplexity, reference: float | None) -> tuple[str, ...]:
    of_all = f" of {result.n_chunks_in_all}" if result.is_partial else ""
    return (
        name,
        f"{result.value:.4f} +/- {result.error:.5f}",
        f"{result.value / reference:.4f}" if reference else "-",
        f"{result.n_chunks}{of_all} x {result.n_ctx}",
        str(result.n_scored),
        f"{result.tokens_per_second:.1f}" if result.tokens_per_second else "-",
    )


def _print_bits_per_byte(sides: list[tuple[str, Perplexity]]) -> None:
    rows = [(name, result.bits_per_byte) for name, result in sides]
    known = [_row(name, found) for name, found in rows if found is not None]
    if known:
        print_table("Bits per byte of text", ["model", "mean", "+/-"], known)


def _print_divergence(found: Comparison, base: str) -> None:
    rows = [
        _row("ln(perplexity ratio)", found.ln_ratio),
        _row("perplexity ratio", found.ratio),
        _row("perplexity difference", found.difference),
        ("correlation of ln(perplexity)", f"{100 * found.correlation:.2f} %", ""),
        _row("KL divergence, nats per token", found.kl.mean),
        _percent_row("Δp of the correct token, mean", found.delta_p.mean),
        _percent_row("Δp of the correct token, RMS", found.rms_delta_p),
        _percent_row("same top-1 token", found.same_top),
    ]
    print_table(f"Divergence from {base}", ["", "mean", "+/-"], rows)
    percentiles = [f"{name} %" if name != "50" else "median" for name in found.kl.percentiles]
    spreads = zip(_values(found.kl), _values(found.delta_p), strict=True)
    both = [(_fixed(kl, 6), _fixed(100 * delta, 3)) for kl, delta in spreads]
    names = ["max", *percentiles, "min"]
    rows = [(name, *values) for name, values in zip(names, both, strict=True)]
    print_table("Per-token distribution", ["", "KL divergence", "Δp, %"], rows)
    if found.n_common_tokens is not None:
        print_text(
            f"The vocabularies are of different sizes: compared over the {found.n_common_tokens:,} "
            "tokens of both, whose probabilities are made to add up to 1. The perplexities at the "
            "top, and the ratio beside them, are over each model's whole vocabulary."
        )
    print_text(_noise(found))


def _fixed(value: float, n_digits: int) -> str:
    """The value with so many digits after the point; what rounds to zero has no sign."""
    return f"{round(value, n_digits) + 0.0:.{n_digits}f}"


def _row(name: str, of: Estimate) -> tuple[str, str, str]:
    return name, _fixed(of.value, 6), "-" if of.error is None else f"{of.error:.6f}"


def _percent_row(name: str, of: Estimate) -> tuple[str, str, str]:
    error = "-" if of.error is None else f"{100 * of.error:.3f} %"
    return name, f"{_fixed(100 * of.value, 3)} %", error


def _values(spread: Spread) -> list[float]:
    return [spread.maximum, *spread.percentiles.values(), spread.minimum]


def _noise(found: Comparison) -> str:
    """A line that compares ln(ratio) with twice the larger of its two standard errors."""
    value = found.ln_ratio.value
    text = f"ln ratio: +/- {found.ln_ratio.error or 0.0:.4f} if tokens were independent"
    if found.ln_ratio_error_over_chunks is not None:
        text += f", +/- {found.ln_ratio_error_over_chunks:.4f} over {found.n_chunks} chunks"
    if value == 0:
        word = "no difference"
    elif abs(value) <= 2 * found.larger_error:
        word = "less than twice the larger: noise"
    else:
        word = "more than twice the larger: not noise"
    return f"{text}; {value:+.4f} is {word}\n"
