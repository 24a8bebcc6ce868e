"""Greedy texts of a unit of prompts, several at once in one context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ggufsurgeon.engine.context import Batch, Context, Integers, Results
from ggufsurgeon.engine.model import Model
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens
from ggufsurgeon.leaderboard.answering.prefix_order import Leaf, Unit
from ggufsurgeon.leaderboard.answering.running.broken_prefixes import BrokenPrefixes
from ggufsurgeon.leaderboard.answering.running.text_so_far import TextSoFar
from ggufsurgeon.leaderboard.requests import GenerationAnswer
from ggufsurgeon.scoring.chunks import N_UBATCH

Answers: TypeAlias = Sequence[tuple[int, GenerationAnswer]]
"""Answers with the indices of their requests."""
OnRun: TypeAlias = Callable[[int], object]


class _Running:
    """A prompt with its text, in a sequence of the context."""

    def __init__(self, leaf: Leaf, prompt: Integers, text: TextSoFar, sequence: int) -> None:
        self.index = leaf.longest
        self.text = text
        self.sequence = sequence
        self.n_run = leaf.n_shared
        """Tokens of the sequence."""
        self.pending = prompt[leaf.n_shared :]
        """Tokens that are to be run: what is left of the prompt, or the last of the text."""

    @property
    def is_in_prompt(self) -> bool:
        """Whether the prompt has not been run to its end."""
        return not self.text.tokens and len(self.pending) > 0

    def ran(self, n_tokens: int) -> None:
        """Note that pending tokens have been run."""
        self.pending = self.pending[n_tokens:]
        self.n_run += n_tokens

    def extend(self, model: Model, logits: Results) -> GenerationAnswer | None:
        """Add the likeliest token by logits [n_vocab]; the answer when the text has ended."""
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):
            return self.text.not_finite()
        if model.ends_generation(token) or self.text.add(token):
            return self.text.answer()
        self.pending = np.array([token], dtype=np.int32)
        return None


class GenerationRun:
    """Answers units of requests in one context.

    Each text has a sequence of its own. When one ends, the next prompt takes its place: its tokens
    run in batches with the last tokens of the other texts, and one prompt runs at a time. One more
    sequence keeps what the next prompt shares with the one before.
    """

    def __init__(
        self,
        context: Context,
        model: Model,
        requests: Mapping[int, GenerationTokens],
        n_parallel: int,
        *,
        may_share: bool,
    ) -> None:
        """`requests` are all, by their indices."""
        self._context = context
        self._model = model
        self._requests = requests
        self._n_parallel = n_parallel
        self._keeper = n_parallel if may_share else None
        self._broken = BrokenPrefixes()

    def answers(self, unit: Unit, on_run: OnRun) -> Iterator[Answers]:
        """The answers to the requests of a unit, some at a time.

        `on_run` is called with the number of tokens that have been run since the last call, and,
        when a text ends, with the number of tokens that it may have had beyond its length.
        """
        indices = list(unit.indices)
        if all(self._broken.cover(self._requests[index].prompt) for index in indices):
            on_run(unit.n_tokens + sum(self._requests[index].max_tokens for index in indices))
            yield [(index, self._text(index).not_finite()) for index in indices]
            return
        doubtful: list[int] = []
        for found in self._run(unit, on_run):
            doubtful += [index for index, one in found if one.text is None]
            yield [pair for pair in found if pair[1].text is not None]
        for index in doubtful:
            yield self._alone(index)

    def _alone(self, index: int) -> Answers:
        """The answer to a prompt whose logits were not finite numbers beside others."""
        prompt = self._requests[index].prompt
        if self._broken.cover(prompt) or self._broken.find(self._context, prompt):
            return [(index, self._text(index).not_finite())]
        unit = Unit((Leaf((index,), index, 0),), len(prompt))
        return [pair for found in self._run(unit, lambda _n: None) for pair in found]

    def _run(self, unit: Unit, on_run: OnRun) -> Iterator[Answers]:
        self._context.clear()
        waiting = list(reversed(unit.leaves))
        free = list(reversed(range(self._n_parallel)))
        running: list[_Running] = []
        while waiting or running:
            if waiting and free and not any(one.is_in_prompt for one in running):
                running.append(self._begun(waiting.pop(), free.pop()))
            batch, n_each = _batch(running)
            logits = self._context.decode(batch)
            on_run(len(batch.tokens))
            for one, n_tokens in zip(running, n_each, strict=True):
                was_in_prompt = one.is_in_prompt
                one.ran(n_tokens)
                if was_in_prompt and not one.is_in_prompt:
                    self._keep(one, waiting)
            ready = [one for one in running if len(one.pending) == 0]
            ended = self._extended(ready, logits)
            for one, _ in ended:
                self._end(one, on_run)
                running.remove(one)
                free.append(one.sequence)
            yield [(one.index, answer) for one, answer in ended]

    def _begun(self, leaf: Leaf, sequence: int) -> _Running:
        """The next prompt, in a sequence that has what it shares with the one before."""
        if self._keeper is not None and leaf.n_shared:
            self._context.copy(self._keeper, sequence, leaf.n_shared)
        prompt = self._requests[leaf.longest].prompt
        return _Running(leaf, prompt, self._text(leaf.longest), sequence)

    def _keep(self, one: _Running, waiting: Sequence[Leaf]) -> None:
        """Keep the prefix that the next prompt shares with one that has been run."""
        if self._keeper is not None:
            self._context.forget(self._keeper)
            if waiting and waiting[-1].n_shared:
                self._context.copy(one.sequence, self._keeper, waiting[-1].n_shared)

    def _extended(
        self, ready: Sequence[_Running], logits: Results
    ) -> list[tuple[_Running, GenerationAnswer]]:
        """Add a token to each text by its row of logits; those that end, with their answers."""
        pairs = zip(ready, logits, strict=False)  # possibly no text is ready
        found = [(one, one.extend(self._model, row)) for one, row in pairs]
        return [(one, answer) for one, answer in found if answer is not None]

    def _end(self, one: _Running, on_run: OnRun) -> None:
        self._context.forget(one.sequence)
        request = self._requests[one.index]
        on_run(request.max_tokens - (one.n_run - len(request.prompt)))

    def _text(self, index: int) -> TextSoFar:
        return TextSoFar(self._model, self._requests[index])


def _batch(running: Sequence[_Running]) -> tuple[Batch, list[int]]:
    """The next tokens of each text, and how many each has in the batch.

    Logits are wanted after the last pending token of each. The prompt that is run, if any, comes
    last, and takes the room that the others leave.
    """
    room = N_UBATCH - len(running) + 1
    parts = [(one, min(len(one.pending), room)) for one in running]
    tokens = [one.pending[:n] for one, n in parts]
    positions = [np.arange(one.n_run, one.n_run + n, dtype=np.int32) for one, n in parts]
    sequences = [np.full(n, one.sequence, dtype=np.int32) for one, n in parts]
    n_each = [n for _, n in parts]
    wanted = np.zeros(sum(n_each), dtype=np.bool_)
    wanted[np.cumsum(n_each) - 1] = [n == len(one.pending) for one, n in parts]
    wanted[-1] |= not wanted.any()  # some graphs abort where nothing is wanted
    joined = [np.concatenate(arrays) for arrays in (tokens, positions, sequences)]
    return Batch(joined[0], joined[1], joined[2], wanted), n_each


def n_cells(
    units: Sequence[Unit],
    requests: Mapping[int, GenerationTokens],
    n_parallel: int,
    *,
    may_share: bool,
) -> int:
    """Tokens that the cache of the context of a run must hold, whichever texts run at once.

    Without `may_share`, llama.cpp gives each sequence an equal part of it.
    """
    if not may_share:
        return n_parallel * max(len(one.prompt) + one.max_tokens for one in requests.values())
    return max(_n_cells_of(unit, requests, n_parallel) for unit in units)


def _n_cells_of(unit: Unit, requests: Mapping[int, GenerationTokens], n_parallel: int) -> int:
    """Tokens that all prompts share, the most that parallel texts add, and those that are kept."""
    n_common = min((leaf.n_shared for leaf in unit.leaves[1:]), default=0)
    of_leaves = [requests[leaf.longest] for leaf in unit.leaves]
    own = sorted(len(one.prompt) - n_common + one.max_tokens for one in of_leaves)
    longest = max(len(one.prompt) for one in of_leaves)
    return n_common + sum(own[-n_parallel:]) + longest - n_common


def n_sequences(n_parallel: int, *, may_share: bool) -> int:
    """Sequences that the context of a run must have."""
    return n_parallel + may_share
