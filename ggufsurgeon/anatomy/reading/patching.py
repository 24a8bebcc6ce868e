"""Activation patching: states of a clean prompt replace those of a corrupt one.

This is causal tracing (arXiv 2202.05262) with the choices that arXiv 2309.16042 recommends:
corrupt prompts are sentences of the same structure, and the metric is the difference of two logits.
Recovery is (patched - corrupt) / (clean - corrupt) of that difference: 0 if the state changes
nothing, 1 if it brings back the clean answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ggufsurgeon.anatomy.pairs import PairReading, PromptPair, Recovery
from ggufsurgeon.anatomy.reading.lens import lens_logits
from ggufsurgeon.anatomy.reading.states import read_states
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.engine.context import MAX_SEQUENCES, Batch, Integers
from ggufsurgeon.engine.graph.taps import Activation, Rows
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError
from ggufsurgeon.routing.stage import N_BATCH, Stage, opened_stage

LEAST_DIFFERENCE = 1.0
"""The least difference, in nats, between the logit differences of both prompts. Below it, the
denominator of the recovery is too small for the recovery to mean anything."""


@dataclass(frozen=True)
class TokenPair:
    """A pair as tokens of a model."""

    clean: Integers
    """int32 [n_tokens]."""
    corrupt: Integers
    """int32 [n_tokens]."""
    answer: int
    other: int


def token_pair(model: Model, pair: PromptPair) -> TokenPair:
    """The tokens of a pair. Raises UsageError if the prompts have different numbers of tokens, the
    same tokens or too many, and if an answer adds no token or both begin with the same one."""
    clean, corrupt = (_tokens(model, text) for text in (pair.clean, pair.corrupt))
    if len(clean) != len(corrupt):
        raise UsageError(
            f"the clean prompt has {len(clean)} tokens and the corrupt one {len(corrupt)}"
        )
    if np.array_equal(clean, corrupt):
        raise UsageError("both prompts have the same tokens")
    if len(clean) > min(model.n_ctx_train, N_BATCH):
        most = min(model.n_ctx_train, N_BATCH)
        raise UsageError(f"the prompts have {len(clean)} tokens, and at most {most} can be run")
    answer, other = (_answer(model, pair.clean, clean, text) for text in (pair.answer, pair.other))
    if answer == other:
        raise UsageError("both answers begin with the same token")
    return TokenPair(clean, corrupt, answer, other)


def patch_pair(model: Model, pair: PromptPair) -> PairReading:
    """The recovery by the state after each block at each token, or why there is none."""
    try:
        tokens = token_pair(model, pair)
    except UsageError as error:
        return PairReading(pair, str(error))
    n = len(tokens.clean)
    with opened_stage(model, n, n) as stage:
        clean = read_states(stage, tokens.clean)
        corrupt = read_states(stage, tokens.corrupt)
        # The logits from the state after the last block are those of the whole model.
        differences = [
            _difference(lens_logits(stage, ids, states[-1], np.arange(n) == n - 1), tokens)[0]
            for ids, states in ((tokens.clean, clean), (tokens.corrupt, corrupt))
        ]
    differing = np.flatnonzero(tokens.clean != tokens.corrupt)
    reading = PairReading(
        pair,
        _problem(*differences),
        tuple(_labels(model, tokens)),
        tuple(differing.tolist()),
        clean=float(differences[0]),
        corrupt=float(differences[1]),
    )
    if reading.problem:
        return reading
    places = np.arange(differing[0], n)
    found = patched_differences(model, tokens, clean, corrupt, places)
    recovery = np.zeros((model.n_blocks, n))
    recovery[:, places] = (found - differences[1]) / (differences[0] - differences[1])
    return replace(reading, recovery=recovery)


def patched_differences(
    model: Model,
    tokens: TokenPair,
    clean: list[Activation],
    corrupt: list[Activation],
    places: npt.NDArray[np.int64],
) -> Recovery:
    """The logit difference at the end of the corrupt prompt, [n_blocks, n_places].

    In each run, the state after one block at one position (`places`) is that of the clean prompt.
    `clean` and `corrupt` are results of `read_states`. Several positions run at once, as sequences
    of a batch.
    """
    n = len(tokens.corrupt)
    n_together = max(1, min(N_BATCH // n, MAX_SEQUENCES, len(places)))
    found = np.full((model.n_blocks, len(places)), np.nan)
    with opened_stage(model, n * n_together, n * n_together, n_together) as stage:
        for block in range(model.n_blocks):
            for first in range(0, len(places), n_together):
                some = places[first : first + n_together]
                states = _with_clean(clean[block + 1], corrupt[block + 1], some)
                found[block, first : first + len(some)] = _run(stage, tokens, block, states)
    return found


def _with_clean(
    clean: Activation, corrupt: Activation, places: npt.NDArray[np.int64]
) -> Activation:
    """A batch of the corrupt states, once for each position, which has the clean state."""
    states = np.repeat(corrupt[None], len(places), axis=0)
    states[np.arange(len(places)), places] = clean[places]
    return np.ascontiguousarray(states.reshape(-1, *corrupt.shape[1:]))


def _run(stage: Stage, tokens: TokenPair, block: int, states: Activation) -> Recovery:
    """The logit differences of a batch whose states after a block are given, [n_sequences]."""
    n = len(tokens.corrupt)
    batch = Batch.of(tokens.corrupt, np.arange(n) == n - 1).repeated(len(states) // n)
    stage.clear()
    entries = {block + 1: [Rows(slice(0, len(states)), states)]}
    logits, _ = stage.decode(batch, entries, (), True)
    return _difference(logits, tokens)


def _difference(logits: npt.NDArray[np.float32], tokens: TokenPair) -> Recovery:
    rows = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        differences = rows[:, tokens.answer] - rows[:, tokens.other]
    return np.asarray(np.where(np.isfinite(differences), differences, np.nan))


def _problem(clean: float, corrupt: float) -> str:
    if not np.isfinite([clean, corrupt]).all():
        return "the logits are not finite numbers"
    if clean <= 0:
        return f"the model prefers the other answer after the clean prompt ({clean:+.2f} nats)"
    if clean - corrupt < LEAST_DIFFERENCE:
        return (
            f"the logit differences after the clean and the corrupt prompt are too close "
            f"({clean:+.2f} and {corrupt:+.2f} nats, less than {LEAST_DIFFERENCE:g} apart)"
        )
    return ""


def _tokens(model: Model, text: str) -> Integers:
    """The tokens of a prompt, without an end token that the tokenizer adds."""
    tokens = model.tokenize(text.encode())
    ends = model.adds_eos and len(tokens) > 1 and tokens[-1] == model.eos
    return tokens[:-1] if ends else tokens


def _answer(model: Model, prompt: str, tokens: Integers, answer: str) -> int:
    """The first token that an answer adds to a prompt."""
    whole = _tokens(model, prompt + answer)
    if len(whole) <= len(tokens) or not np.array_equal(whole[: len(tokens)], tokens):
        raise UsageError(f"the answer {answer!r} does not add a token of its own to the prompt")
    return int(whole[len(tokens)])


def _labels(model: Model, tokens: TokenPair) -> list[str]:
    both = zip(tokens.clean.tolist(), tokens.corrupt.tolist(), strict=True)
    return ["/".join(_text(model, token) for token in dict.fromkeys(pair)) for pair in both]


def _text(model: Model, token: int) -> str:
    return printable(model.text_of(token).decode("utf-8", "replace"))
