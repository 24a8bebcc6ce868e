"""Many layer paths over the same tokens: one pass each, once the states they share are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from ggufsurgeon.engine.graph.taps import Activation, Rows
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.array_store import DEFAULT_LIMIT, ArrayStore
from ggufsurgeon.routing.limits import Limits
from ggufsurgeon.routing.passes import Pass, Steps, pass_to, states_needed, steps_of
from ggufsurgeon.routing.stage import N_BATCH, opened_stage
from ggufsurgeon.routing.stages import Stages


class _Job(NamedTuple):
    """A pass, and after which steps the states are that it gives, by block."""

    run: Pass
    gives: dict[int, Steps]

    def is_of_model_of(self, other: _Job) -> bool:
        """Whether both run in the same context."""
        ours, theirs = self.run.at, other.run.at
        return ours == theirs.at(theirs.source, ours.block)

    def can_share_batch_with(self, other: _Job) -> bool:
        """Whether they can be in one batch: of one model, and neither needs what another gives."""
        return self.is_of_model_of(other) and self.run.n_before == other.run.n_before


class Decoded(NamedTuple):
    """The logits of a piece along one path."""

    path: int
    """The index of the path."""
    piece: int
    """The index of the piece."""
    logits: Results
    """Logits of its wanted tokens, [n_wanted, n_vocab]: a view that holds until the next decode."""


class Router:
    """Made by `opened_router`. States are kept from call to call while the tokens are the same."""

    def __init__(
        self,
        stages: Stages,
        n_ctx: int,
        n_chunk: int,
        n_parallel: int,
        store: ArrayStore[Steps],
    ) -> None:
        self._stages = stages
        self._sources = stages.sources
        self._limits = Limits(self._sources)
        self._n_ctx = n_ctx
        self._n_chunk = n_chunk
        self._n_parallel = n_parallel
        self._store = store
        self._pieces: Sequence[Batch] = ()

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
        tokens = as_tokens(tokens)
        pieces = Batch.of(tokens, as_flags(wanted, len(tokens))).parts(self._n_chunk)
        jobs = [_Job(self._last_pass(path), {}) for path in paths]
        for n, together in enumerate(_grouped(jobs, self._n_parallel, _Job.is_of_model_of)):
            self._begin(pieces)  # another iteration may have come between
            runs = [job.run for job in (together if n else jobs)]
            self._make_states(self._missing(runs), self._n_parallel)
            parts = [[np.array(rows) for rows in found] for found in self._run(together)]
            yield from map(np.concatenate, zip(*parts, strict=True))

    def stream(self, pieces: Sequence[Batch], paths: Sequence[LayerPath]) -> Iterator[Decoded]:
        """The logits of the wanted tokens of several pieces along several paths, path by path.

        Each piece is one decode; together they are some sequences, which may share tokens. Of each
        path, the logits of one piece after the other. Each distinct pass runs once: the first run
        gives all states that later paths need of it, besides its logits if it is the last pass of
        a path. So put the path of all blocks first: then each window costs one more pass. Only
        the state behind the last block is made by a pass of its own. Raises as `logits`.
        """
        for path in paths:
            self._limits.check(path)
        self._begin(pieces)
        last_passes = [self._last_pass(path) for path in paths]
        for n, run in enumerate(last_passes):
            missing = self._missing([run])
            for needed, gives in self._missing(last_passes[n + 1 :]).items():
                if needed in missing:
                    missing[needed] |= gives
            self._make_states(missing, 1)
            job = _Job(run, self._gives(run, last_passes[n + 1 :]))
            for piece, (rows,) in enumerate(self._run([job])):
                yield Decoded(n, piece, rows)

    def _last_pass(self, path: LayerPath) -> Pass:
        """The pass that gives the logits."""
        outside = self._sources.outside_of(path)
        return pass_to(steps_of(path, outside, self._sources.models[outside.output].n_blocks))

    def _gives(self, run: Pass, others: Sequence[Pass]) -> dict[int, Steps]:
        """The states that a pass can give to others besides its logits, by block.

        Not the state behind the last block: it would have to compute all tokens, not the wanted
        ones, and the logits could round differently.
        """
        return {
            block: steps
            for block, steps in self._missing(others).get(run, {}).items()
            if block < self._sources.models[run.at.source].n_blocks - 1
        }

    def _missing(self, runs: Sequence[Pass]) -> dict[Pass, dict[int, Steps]]:
        """The states that passes need and that are not kept yet, by the pass that gives them."""
        needed = [steps for run in runs for steps in states_needed(run, self._limits.crossing)]
        missing: dict[Pass, dict[int, Steps]] = {}
        for steps in dict.fromkeys(needed):
            if steps not in self._store:
                missing.setdefault(pass_to(steps), {})[steps[-1].block] = steps
        return missing

    def _begin(self, pieces: Sequence[Batch]) -> None:
        n_sequences = max(piece.n_sequences for piece in pieces)
        n_tokens = max(int(piece.positions.max()) + 1 for piece in pieces)
        if n_sequences > self._n_parallel:
            raise UsageError(
                f"{n_sequences} texts do not fit a router of {self._n_parallel} at once"
            )
        if n_tokens > self._n_ctx:
            raise UsageError(f"{n_tokens} tokens do not fit a context of {self._n_ctx}")
        before = self._pieces
        if len(pieces) != len(before) or not all(map(Batch.has_tokens_of, pieces, before)):
            self._store.clear()
        self._pieces = pieces

    def _make_states(self, missing: dict[Pass, dict[int, Steps]], n_together: int) -> None:
        """Run passes, `n_together` in a batch, for the states that they give."""
        in_order = sorted(missing, key=lambda run: run.n_before)
        jobs = [_Job(run, missing[run]) for run in in_order]
        for group in _grouped(jobs, n_together, _Job.can_share_batch_with):
            for _ in self._run(group, needs_results=False):
                pass  # nobody asks for logits

    def _run(self, jobs: Sequence[_Job], *, needs_results: bool = True) -> Iterator[list[Results]]:
        """The logits of each job, piece by piece; none are computed when none are needed.

        What the jobs give is in the store once all pieces have run.
        """
        stage = self._stages.of(jobs[0].run.at)
        stage.clear()
        states: dict[Steps, list[Activation]] = {s: [] for job in jobs for s in job.gives.values()}
        first = 0
        for piece in self._pieces:
            entries = self._entries(jobs, slice(first, first + len(piece.tokens)))
            outputs = {block for job in jobs for block in job.gives}
            batch = piece.repeated(len(jobs))
            results, found = stage.decode(batch, entries, outputs, needs_results)
            for n, job in enumerate(jobs):
                for block, steps in job.gives.items():
                    states[steps].append(np.split(found[block], len(jobs))[n])
            yield np.split(results, len(jobs))
            first += len(piece.tokens)
        for steps, parts in states.items():
            self._store.put(steps, np.concatenate(parts))

    def _entries(self, jobs: Sequence[_Job], tokens: slice) -> dict[int, list[Rows]]:
        """What feeds blocks of a batch in which the jobs run some of all tokens side by side."""
        n_tokens = tokens.stop - tokens.start
        entries: dict[int, list[Rows]] = {}
        for place, job in enumerate(jobs):
            rows = slice(place * n_tokens, (place + 1) * n_tokens)
            for at, steps in job.run.entries(self._limits.crossing):
                entries.setdefault(at, []).append(Rows(rows, self._store.get(steps)[tokens]))
        return entries


def _grouped(
    jobs: Sequence[_Job], n_together: int, can_share: Callable[[_Job, _Job], bool]
) -> Iterator[Sequence[_Job]]:
    """The jobs in their order, in groups of one batch."""
    group: list[_Job] = []
    for job in jobs:
        if group and (len(group) == n_together or not can_share(job, group[0])):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


@contextmanager
def opened_router(
    models: Sequence[Model] | Sources,
    n_ctx: int,
    n_parallel: int = 1,
    limit_n_bytes: int = DEFAULT_LIMIT,
    *,
    n_batch: int = N_BATCH,
    keeps_all_windows: bool = True,
    sharing: bool = False,
) -> Iterator[Router]:
    """Run layer paths over loaded models.

    What is outside the blocks is that of the models beside it, unless sources say otherwise.
    `n_ctx` tokens at most; `n_parallel` paths, or texts of a stream, share a batch as sequences
    of their own, which is faster for short texts and rounds differently from one alone. `n_batch`
    tokens at most are decoded at once; `keeps_all_windows` and `sharing` are of `opened_context`.
    States of more than `limit_n_bytes` go to a temporary file.
    """
    sources = Sources.of(models)
    if not sources.models or n_ctx < 1 or not 1 <= n_parallel <= MAX_SEQUENCES:
        raise UsageError(
            f"a router takes models, here {len(sources.models)}, a context of at least one token, "
            f"here {n_ctx}, and 1 to {MAX_SEQUENCES} paths at once, here {n_parallel}"
        )
    # The tokens of an encoder see each other, so they must run at once.
    n_chunk = n_ctx if sources.models[0].is_encoder else min(n_batch // n_parallel, n_ctx)
    n_most = n_ctx * n_parallel
    n_batch = n_most if sources.models[0].is_encoder else min(n_batch, n_most)
    open_stage = partial(
        opened_stage,
        n_ctx=n_most,
        n_batch=n_batch,
        n_seq_max=n_parallel,
        keeps_all_windows=keeps_all_windows,
        sharing=sharing,
    )
    with ExitStack() as stack:
        stages = Stages(sources, open_stage, stack)
        store = stack.enter_context(ArrayStore[Steps](limit_n_bytes))
        yield Router(stages, n_ctx, n_chunk, n_parallel, store)
