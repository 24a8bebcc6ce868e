"""Many layer paths over the same tokens: one pass each, once the states they share are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np

from ggufsurgeon.engine.context import (
    MAX_SEQUENCES,
    Batch,
    Flags,
    Integers,
    Results,
    as_flags,
    as_tokens,
)
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.taps import Activation, Rows
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.array_store import DEFAULT_LIMIT, ArrayStore
from ggufsurgeon.routing.limits import Limits
from ggufsurgeon.routing.passes import Pass, Steps, last_pass, pass_to, states_needed
from ggufsurgeon.routing.stage import INPUT, N_BATCH, Stage, opened_stage


class _Job(NamedTuple):
    """A pass, and after which steps the states are that it gives, by block."""

    run: Pass
    gives: dict[int, Steps]

    def can_share_batch_with(self, other: _Job) -> bool:
        """Whether they can be in one batch: of one model, and neither needs what another gives."""
        same_model = self.run.at.source == other.run.at.source
        return same_model and self.run.n_before == other.run.n_before


class Decoded(NamedTuple):
    """The logits of a piece of all texts along one path."""

    path: int
    """The index of the path."""
    piece: slice
    """The positions that were decoded."""
    logits: Results
    """Logits of the wanted positions, text by text, [n_texts * n_wanted, n_vocab]: a view that
    holds until the next decode."""


class Router:
    """Made by `opened_router`. States are kept from call to call while the tokens are the same."""

    def __init__(
        self,
        stages: Sequence[Stage],
        n_ctx: int,
        n_chunk: int,
        n_parallel: int,
        store: ArrayStore[Steps],
    ) -> None:
        self._stages = stages
        self._models = [stage.model for stage in stages]
        self._limits = Limits(self._models)
        self._n_ctx = n_ctx
        self._n_chunk = n_chunk
        self._n_parallel = n_parallel
        self._store = store
        self._texts: Integers = np.empty((0, 0), dtype=np.int32)
        self._chunks: Sequence[slice] = ()

    @property
    def n_blocks(self) -> int:
        """Blocks of the first model, as the main graph runs them."""
        return self._models[0].n_blocks

    def logits(
        self, tokens: Integers, paths: Iterable[LayerPath], wanted: Flags | None = None
    ) -> Iterator[Results]:
        """Logits of the tokens with `wanted` (all), [n_wanted, n_vocab], along each path in turn.

        One pass over the model gives all states that single windows need; each path then costs
        one pass, and one more for each further jump. Raises RefusedError for a path that cannot
        be routed, UsageError for one that is not over these models or for too many tokens.

        Where some tokens are not wanted, a path that does not end with the last block may differ
        from its file in the last bits: there the last block computes wanted tokens alone.
        """
        paths = list(paths)
        for path in paths:
            self._limits.check(path)
        tokens, wanted = as_tokens(tokens), as_flags(wanted, len(tokens))
        chunks = [
            slice(start, min(start + self._n_chunk, len(tokens)))
            for start in range(0, len(tokens), self._n_chunk)
        ]
        jobs = [_Job(last_pass(path.steps, self.n_blocks), {}) for path in paths]
        for first in range(0, len(jobs), self._n_parallel):
            together = jobs[first : first + self._n_parallel]
            self._begin(tokens[np.newaxis], chunks)  # another iteration may have come between
            self._make_states([job.run for job in (jobs if first == 0 else together)])
            parts = [[np.array(rows) for rows in found] for found in self._run(together, wanted)]
            yield from map(np.concatenate, zip(*parts, strict=True))

    def stream(
        self,
        texts: Integers,
        paths: Sequence[LayerPath],
        wanted: Flags,
        pieces: Sequence[slice],
    ) -> Iterator[Decoded]:
        """The logits of several texts [n_texts, n_tokens] along several paths, path by path.

        Of each path, the logits of one piece after the other; the pieces of the tokens follow one
        another, and each is one decode of all texts. Each distinct pass runs once: the first run
        gives all states that later paths need of it, besides its logits if it is the last pass of
        a path. So put the path of all blocks first: then each window costs one more pass. Only
        the state behind the last block is made by a pass of its own. Raises as `logits`.
        """
        for path in paths:
            self._limits.check(path)
        self._begin(texts, pieces)
        flags = as_flags(wanted, texts.shape[1])
        last_passes = [last_pass(path.steps, self.n_blocks) for path in paths]
        for n, run in enumerate(last_passes):
            self._make_states(last_passes[n : n + 1], last_passes[n + 1 :])
            job = _Job(run, self._gives(run, last_passes[n + 1 :]))
            for piece, (rows,) in zip(pieces, self._run([job], flags), strict=True):
                yield Decoded(n, piece, rows)

    def _gives(self, run: Pass, others: Sequence[Pass]) -> dict[int, Steps]:
        """The states that a pass can give to others besides its logits, by block.

        Not the state behind the last block: it would have to compute all tokens, not the wanted
        ones, and the logits could round differently.
        """
        return {
            block: steps
            for block, steps in self._missing(others).get(run, {}).items()
            if block < self._models[run.at.source].n_blocks - 1
        }

    def _missing(self, runs: Sequence[Pass]) -> dict[Pass, dict[int, Steps]]:
        """The states that passes need and that are not kept yet, by the pass that gives them."""
        needed = [steps for run in runs for steps in states_needed(run, self._limits.crossing)]
        missing: dict[Pass, dict[int, Steps]] = {}
        for steps in dict.fromkeys(needed):
            if steps not in self._store:
                block = steps[-1].block if steps else INPUT
                missing.setdefault(pass_to(steps), {})[block] = steps
        return missing

    def _begin(self, texts: Integers, chunks: Sequence[slice]) -> None:
        n_texts, n_tokens = texts.shape
        if n_texts > self._n_parallel:
            raise UsageError(f"{n_texts} texts do not fit a router of {self._n_parallel} at once")
        if not 0 < n_tokens <= self._n_ctx:
            raise UsageError(f"{n_tokens} tokens do not fit a context of {self._n_ctx}")
        if not np.array_equal(texts, self._texts) or chunks != self._chunks:
            self._store.clear()
            self._texts, self._chunks = texts, chunks

    def _make_states(self, runs: Sequence[Pass], later: Sequence[Pass] = ()) -> None:
        """Run the passes whose states `runs` need; they also give what `later` passes need."""
        missing = self._missing(runs)
        for run, gives in self._missing(later).items():
            if run in missing:
                missing[run] |= gives
        in_order = sorted(missing, key=lambda run: run.n_before)
        for group in self._grouped([_Job(run, missing[run]) for run in in_order]):
            for _ in self._run(group, None):
                pass  # nobody asks for logits

    def _grouped(self, jobs: Sequence[_Job]) -> Iterator[Sequence[_Job]]:
        group: list[_Job] = []
        for job in jobs:
            if group and (len(group) == self._n_parallel or not job.can_share_batch_with(group[0])):
                yield group
                group = []
            group.append(job)
        if group:
            yield group

    def _run(self, jobs: Sequence[_Job], wanted: Flags | None) -> Iterator[list[Results]]:
        """The logits of each job, chunk by chunk; none are computed when none are wanted.

        What the jobs give is in the store once all chunks have run.
        """
        stage = self._stages[jobs[0].run.at.source]
        stage.clear()
        states: dict[Steps, list[Activation]] = {s: [] for job in jobs for s in job.gives.values()}
        for chunk in self._chunks:
            rows, found = self._decode(stage, jobs, chunk, wanted)
            for n, job in enumerate(jobs):
                for block, steps in job.gives.items():
                    state = np.split(found[block], len(jobs))[n]
                    states[steps].append(np.stack(np.split(state, len(self._texts))))
            yield rows
        for steps, parts in states.items():
            self._store.put(steps, np.concatenate(parts, axis=1))

    def _decode(
        self, stage: Stage, jobs: Sequence[_Job], chunk: slice, wanted: Flags | None
    ) -> tuple[list[Results], dict[int, Activation]]:
        tokens = self._texts[:, chunk]
        entries: dict[int, list[Rows]] = {}
        for place, job in enumerate(jobs):
            rows = slice(place * tokens.size, (place + 1) * tokens.size)
            for at, steps in job.run.entries(self._limits.crossing):
                values = np.concatenate(self._store.get(steps)[:, chunk])
                entries.setdefault(at, []).append(Rows(rows, values))
        asked = np.zeros(tokens.shape[1], dtype=np.bool_) if wanted is None else wanted[chunk]
        batch = Batch.side_by_side(np.tile(tokens, (len(jobs), 1)), chunk.start, asked)
        outputs = {block for job in jobs for block in job.gives}
        results, states = stage.decode(batch, entries, outputs, wanted is not None)
        return np.split(results, len(jobs)), states


@contextmanager
def opened_router(
    models: Sequence[Model],
    n_ctx: int,
    n_parallel: int = 1,
    limit_n_bytes: int = DEFAULT_LIMIT,
    *,
    n_batch: int = N_BATCH,
    keeps_all_windows: bool = True,
) -> Iterator[Router]:
    """Run layer paths over loaded models, of which the first has the embedding and the head.

    `n_ctx` tokens at most; `n_parallel` paths, or texts of a stream, share a batch as sequences
    of their own, which is faster for short texts and rounds differently from one alone. `n_batch`
    tokens at most are decoded at once; `keeps_all_windows` is of `opened_context`. States of more
    than `limit_n_bytes` go to a temporary file.
    """
    if not models or n_ctx < 1 or not 1 <= n_parallel <= MAX_SEQUENCES:
        raise UsageError(
            f"a router takes models, here {len(models)}, a context of at least one token, here "
            f"{n_ctx}, and 1 to {MAX_SEQUENCES} paths at once, here {n_parallel}"
        )
    # The tokens of an encoder see each other, so they must run at once.
    n_chunk = n_ctx if models[0].is_encoder else min(n_batch // n_parallel, n_ctx)
    n_most = n_ctx * n_parallel
    n_batch = n_most if models[0].is_encoder else min(n_batch, n_most)
    open_stage = partial(opened_stage, keeps_all_windows=keeps_all_windows)
    with ExitStack() as stack:
        stages = [
            stack.enter_context(open_stage(model, n_most, n_batch, n_parallel)) for model in models
        ]
        store = stack.enter_context(ArrayStore[Steps](limit_n_bytes))
        yield Router(stages, n_ctx, n_chunk, n_parallel, store)
