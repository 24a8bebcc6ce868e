"""The harness' requests as values: what a model is asked, without the harness around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.prompting import Prompting
from ggufsurgeon.leaderboard.requests import (
    EvaluationRequest,
    GenerationRequest,
    LikelihoodRequest,
)

DEFAULT_MAX_TOKENS = 256
"""Tokens of a text whose task sets no limit, as in the harness' HF backend
(lm_eval/models/huggingface.py)."""
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the limit, of which the first that is given is used (lm_eval/models/utils.py,
normalize_gen_kwargs)."""

_OF_OTHER_TEXT = {
    "num_beams": 1,
    "repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "min_new_tokens": 0,
}
"""Settings that the harness hands to transformers, whose text is then not the greedy one, each with
the value that changes nothing (transformers/generation/configuration_utils.py)."""


def request_of(instance: Any, prompting: Prompting) -> EvaluationRequest:
    """What an `Instance` of the harness asks.

    Raises UsageError for what is not answered here: texts that are sampled or otherwise not greedy,
    and likelihoods of whole texts.
    """
    if instance.request_type == "loglikelihood":
        return LikelihoodRequest(*instance.args)
    if instance.request_type == "generate_until":
        context, settings = instance.args
        return _generation(context, settings, prompting.n_thinking_tokens)
    raise UsageError(
        f"requests of the type {instance.request_type} are not answered, only those for the "
        "likelihood of a continuation and for greedy text"
    )


def _generation(
    context: str, settings: Mapping[str, Any], n_thinking_tokens: int
) -> GenerationRequest:
    temperature = float(settings.get("temperature") or 0)
    if settings.get("do_sample", temperature > 0) and temperature > 0:
        raise UsageError(
            f"a task asks for sampled text, at a temperature of {temperature:g}",
            hint="Texts are generated greedily here: set do_sample to False in its settings.",
        )
    for name, without in _OF_OTHER_TEXT.items():
        if (settings.get(name) or without) != without:
            raise UsageError(
                f"a task wants text with {name} = {settings[name]}, and texts are greedy here",
                hint=f"Leave {name} out of its settings.",
            )
    until = settings.get("until") or []
    stops = (until,) if isinstance(until, str) else tuple(until)
    limits = [settings[name] for name in _LIMITS if settings.get(name) is not None]
    n_tokens = int(limits[0]) if limits else DEFAULT_MAX_TOKENS
    return GenerationRequest(context, tuple(filter(None, stops)), n_tokens + n_thinking_tokens)
