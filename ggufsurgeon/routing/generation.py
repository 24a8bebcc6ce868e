"""Generation along a layer path: a context for each pass, all fed token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ggufsurgeon.engine.context import Batch, Integers, Results, as_tokens
from ggufsurgeon.engine.graph.taps import Activation, Rows
from ggufsurgeon.engine.sampling import Sampling, opened_sampler
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import NotFiniteError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.routing.limits import Limits
from ggufsurgeon.routing.models_by_strength import ModelsByStrength
from ggufsurgeon.routing.passes import Pass, Steps, pass_to, states_needed, steps_of
from ggufsurgeon.routing.stage import N_BATCH, Stage, opened_stage


@dataclass(frozen=True)
class _Link:
    """A pass with the context it runs in."""

    stage: Stage
    entries: Mapping[int, Steps]
    gives: Mapping[int, Steps]
    """The states that others need of it, by block."""
    is_last: bool


class Chain:
    """One path, ready to run on. Made by `opened_chain`."""

    def __init__(self, links: Sequence[_Link]) -> None:
        self._links = links
        self._n_past = 0

    def decode(self, tokens: Integers, progress: Progress = NO_PROGRESS) -> Results:
        """Run tokens, shape [n_tokens], behind those before; the logits of the last, [n_vocab].

        `progress` advances by the tokens of each batch.

        Raises NotFiniteError when they are not finite numbers.
        """
        logits: Results = np.empty(0, dtype=np.float32)
        for start in range(0, len(tokens), N_BATCH):
            batch = tokens[start : start + N_BATCH]
            states: dict[Steps, Activation] = {}
            for link in self._links:
                logits = self._run(link, batch, states)
            self._n_past += len(batch)
            progress.advance(len(batch))
        if not np.isfinite(logits).all():
            path = str(self._links[-1].stage.model.path)
            raise NotFiniteError(path, "its logits are not finite numbers")
        return logits

    def _run(self, link: _Link, tokens: Integers, states: dict[Steps, Activation]) -> Results:
        n = len(tokens)
        batch = Batch(
            tokens,
            positions=np.arange(self._n_past, self._n_past + n, dtype=np.int32),
            sequences=np.zeros(n, dtype=np.int32),
            wanted=(np.arange(n) == n - 1) & link.is_last,
        )
        entries = {at: [Rows(slice(0, n), states[s])] for at, s in link.entries.items()}
        logits, found = link.stage.decode(batch, entries, link.gives.keys(), link.is_last)
        states.update({steps: found[block] for block, steps in link.gives.items()})
        return logits[-1] if link.is_last else logits

    def sample(self, sampler: Any) -> int:
        """The next token, by the logits of the last decode."""
        return self._links[-1].stage.sample(sampler)


@contextmanager
def opened_chain(sources: Sources, path: LayerPath, n_ctx: int) -> Iterator[Chain]:
    """Contexts of `n_ctx` tokens for every pass of a path over loaded models.

    Raises RefusedError for a path that cannot be routed.
    """
    limits = Limits(sources)
    limits.check(path)
    outside = sources.outside_of(path)
    last = pass_to(steps_of(path, outside, sources.models[outside.output].n_blocks))
    gives: dict[Pass, dict[int, Steps]] = {}
    for steps in states_needed(last, limits.crossing):
        gives.setdefault(pass_to(steps), {})[steps[-1].block] = steps
    with ExitStack() as stack:
        by_strength = ModelsByStrength(sources.models, stack)
        links = []
        for run in [*gives, last]:
            stage = opened_stage(by_strength.of(run.at), n_ctx, min(n_ctx, N_BATCH))
            entries = dict(run.entries(limits.crossing))
            link = _Link(stack.enter_context(stage), entries, gives.get(run, {}), run == last)
            links.append(link)
        yield Chain(links)


def generate(
    sources: Sources,
    path: LayerPath,
    tokens: Integers,
    n_tokens: int,
    sampling: Sampling | None = None,
    progress: Progress = NO_PROGRESS,
) -> Iterator[int]:
    """Up to `n_tokens` tokens after `tokens`, until one ends the text.

    `progress` is that of the prompt. Raises RefusedError for a path that cannot be routed,
    UsageError without tokens, NotFiniteError when the logits are not finite numbers.
    """
    tokens = as_tokens(tokens)
    if n_tokens < 1:
        raise UsageError(f"{n_tokens} tokens to generate: expected at least one")
    if len(tokens) == 0:
        raise UsageError("the prompt has no tokens, and this model adds none: write something")
    sources.check_context(len(tokens) + n_tokens)
    with (
        opened_chain(sources, path, len(tokens) + n_tokens) as chain,
        opened_sampler(sampling or Sampling()) as sampler,
    ):
        progress.begin("prompt", len(tokens), "tokens")
        for _ in range(n_tokens):
            chain.decode(tokens, progress)
            progress = NO_PROGRESS
            token = chain.sample(sampler)
            if sources.tokenizer.ends_generation(token):
                return
            yield token
            tokens = np.array([token], dtype=np.int32)
