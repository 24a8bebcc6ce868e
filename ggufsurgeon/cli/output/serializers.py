"""JSON objects of results: their keys are a promise, whatever the fields behind them are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggufsurgeon.aliasing.placement import Placement
    from ggufsurgeon.engine.devices.device_use import DeviceUse
    from ggufsurgeon.inference.text import GeneratedText
    from ggufsurgeon.multiple_choice.task_results import (
        MultipleChoiceResult,
        PairedDifference,
        TaskResult,
    )
    from ggufsurgeon.sizing.prediction import DeviceLoad
    from ggufsurgeon.statistics.divergence import Comparison, Spread
    from ggufsurgeon.statistics.estimate import Estimate
    from ggufsurgeon.statistics.perplexity import Perplexity
    from ggufsurgeon.verification.model_runs.embedding import Embedding
    from ggufsurgeon.verification.model_runs.equivalence import Equivalence, Noise
    from ggufsurgeon.verification.model_runs.generation import Generation

Json = dict[str, Any]


def devices_as_json(devices: Sequence[DeviceUse]) -> list[Json]:
    """What each device held of a model that ran."""
    return [
        {
            "device": use.device,
            "description": use.description,
            "blocks": list(use.blocks),
            "has_output": use.has_output,
            "n_bytes_weights": use.n_bytes_weights,
            "n_bytes_kv": use.n_bytes_kv,
            "n_bytes_state": use.n_bytes_state,
            "n_bytes_compute": use.n_bytes_compute,
            "n_bytes_memory": use.n_bytes_memory,
        }
        for use in devices
    ]


def loads_as_json(loads: Sequence[DeviceLoad]) -> list[Json]:
    """What each device will have to hold; null for what is not known."""
    return [
        {
            "device": load.device,
            "blocks": list(load.blocks),
            "has_output": load.has_output,
            "n_bytes_weights": load.n_bytes_weights,
            "n_bytes_mapped": load.n_bytes_mapped,
            "n_bytes_kv": dict(load.n_bytes_kv),
            "n_bytes_kv_1k": dict(load.n_bytes_kv_1k),
            "n_bytes_state": load.n_bytes_state,
            "n_bytes": load.n_bytes,
            "n_bytes_memory": load.n_bytes_memory,
            "fits": load.fits,
        }
        for load in loads
    ]


def perplexity_as_json(result: Perplexity, *, details: bool) -> Json:
    """A perplexity; with `details`, the losses by chunk and by position in nats."""
    losses = {
        "chunk_losses": list(result.chunk_losses),
        "position_losses": list(result.position_losses),
    }
    return {
        "perplexity": result.value,
        "perplexity_error": result.error,
        "n_chunks": result.n_chunks,
        "n_ctx": result.n_ctx,
        "n_scored": result.n_scored,
        "seconds": result.seconds,
        "tokens_per_second": result.tokens_per_second,
        "devices": devices_as_json(result.devices),
        "n_chunks_in_all": result.n_chunks_in_all,
        "bits_per_byte": result.bits_per_byte and estimate_as_json(result.bits_per_byte),
        **(losses if details else {}),
    }


def comparison_as_json(found: Comparison) -> Json:
    """The statistics of a model against a base."""
    return {
        "n_scored": found.n_scored,
        "n_chunks": found.n_chunks,
        "perplexity": estimate_as_json(found.perplexity),
        "base_perplexity": estimate_as_json(found.base_perplexity),
        "correlation": found.correlation,
        "ln_ratio": estimate_as_json(found.ln_ratio),
        "ln_ratio_error_over_chunks": found.ln_ratio_error_over_chunks,
        "ratio": estimate_as_json(found.ratio),
        "difference": estimate_as_json(found.difference),
        "kl": _spread_as_json(found.kl),
        "delta_p": _spread_as_json(found.delta_p),
        "rms_delta_p": estimate_as_json(found.rms_delta_p),
        "same_top": estimate_as_json(found.same_top),
        "n_common_tokens": found.n_common_tokens,
    }


def estimate_as_json(estimate: Estimate) -> Json:
    """An estimate with its standard error."""
    return {"value": estimate.value, "error": estimate.error}


def _spread_as_json(spread: Spread) -> Json:
    return {
        "mean": estimate_as_json(spread.mean),
        "maximum": spread.maximum,
        "percentiles": dict(spread.percentiles),
        "minimum": spread.minimum,
    }


def multiple_choice_as_json(result: MultipleChoiceResult, *, details: bool) -> Json:
    """Accuracies and margin over tasks; with `details`, the result of each task."""
    answers = {"answers": [_task_result_as_json(each) for each in result.task_results]}
    return {
        "layer_path": result.layer_path,
        "n_tasks": result.n_tasks,
        **_means_as_json(result),
        **(answers if details else {}),
        "n_tasks_in_all": result.n_tasks_in_all,
        "devices": devices_as_json(result.devices),
        "is_partial": result.is_partial,
    }


def paired_difference_as_json(difference: PairedDifference) -> Json:
    """The paired differences of two results on the same tasks."""
    return _means_as_json(difference)


def _means_as_json(means: MultipleChoiceResult | PairedDifference) -> Json:
    return {
        "accuracy": _mean_as_json(means.accuracy),
        "accuracy_normalised": _mean_as_json(means.accuracy_normalised),
        "margin": _mean_as_json(means.margin),
    }


def _mean_as_json(mean: Estimate) -> Json:
    return {"mean": mean.value, "error": mean.error}


def _task_result_as_json(result: TaskResult) -> Json:
    return {
        "id": result.id,
        "answer": result.answer,
        "log_likelihoods": list(result.log_likelihoods),
        "normalised": list(result.normalised),
        "chosen": result.chosen,
        "chosen_normalised": result.chosen_normalised,
        "margin": result.margin,
    }


def generated_text_as_json(generated: GeneratedText) -> Json:
    """A generated text, with its rate in tokens per second."""
    return {
        "layer_path": generated.layer_path,
        "execution": generated.execution,
        "devices": placements_as_json(generated.placements),
        "text": generated.text,
        "tokens": list(generated.tokens),
        "n_prompt": generated.n_prompt,
        "n_tokens": generated.n_tokens,
        "seconds_to_first": generated.seconds_to_first,
        "tokens_per_second": generated.tokens_per_second,
    }


def placements_as_json(placements: Sequence[Placement]) -> list[Json]:
    """For each device the positions whose weights it holds, and those whose cache it holds."""
    devices = dict.fromkeys(name for place in placements for name in (place.weights, place.cache))
    return [
        {
            "device": name,
            "weights_of": [place.position for place in placements if place.weights == name],
            "cache_of": [place.position for place in placements if place.cache == name],
        }
        for name in devices
    ]


def generation_as_json(generation: Generation) -> Json:
    """The greedy continuation that `verify` asked for."""
    return {"n_tokens": generation.n_tokens, "text": generation.text}


def embedding_as_json(embedding: Embedding) -> Json:
    """The shape of the embeddings of an encoder."""
    return {"n_tokens": embedding.n_tokens, "n_embd": embedding.n_embd}


def equivalence_as_json(equivalence: Equivalence) -> Json:
    """How far the written file is from the routed path."""
    return {
        "ok": equivalence.ok,
        "max_abs_diff": equivalence.max_abs_diff,
        "mean_kl": equivalence.mean_kl,
        "n_tokens": equivalence.n_tokens,
        "n_prompt": equivalence.n_prompt,
        "noise": equivalence.noise and _noise_as_json(equivalence.noise),
    }


def _noise_as_json(noise: Noise) -> Json:
    return {"max_abs_diff": noise.max_abs_diff, "mean_kl": noise.mean_kl}
