"""Requests in an order that puts shared prefixes side by side, cut into independent units.

Sorted by their tokens, requests are the leaves of a tree, from left to right: what any two have
in common, all between them have too. So each token of the tree is run once if the cache keeps the
prefix that the next request shares. A unit begins with an empty cache and depends on nothing
but its requests. Therefore an answer is rounded alike whatever was answered before it, in this or
another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens, LikelihoodTokens
from ggufsurgeon.multiple_choice.task_tokens import n_common

LEAST_UNIT = 4096
"""Minimum number of tokens of a unit of log-likelihoods, of which only the last batch is not
full."""
LEAST_SAVING = 32
"""A unit goes on while it has run fewer than this many times the tokens that its next request
shares with it: ending it there would cost more than about 3 % of its tokens again."""
GENERATED_IN_UNIT = 1 << 16
"""Maximum number of tokens that the texts of a unit may have, unless it has only as many texts as
run at once."""


class Leaf(NamedTuple):
    """Requests whose inputs are one sequence of tokens, or prefixes of it."""

    indices: tuple[int, ...]
    longest: int
    """The index of the request with the whole sequence."""
    n_shared: int
    """Tokens that the sequence has in common with that of the leaf before; 0 for the first."""


class Unit(NamedTuple):
    """Leaves that run one after the other, from an empty cache."""

    leaves: tuple[Leaf, ...]
    n_tokens: int
    """Tokens that are run."""

    @property
    def indices(self) -> Iterator[int]:
        """The requests of all leaves."""
        return (index for leaf in self.leaves for index in leaf.indices)


def likelihood_units(
    requests: Mapping[int, LikelihoodTokens], *, may_share: bool
) -> tuple[Unit, ...]:
    """Requests by their indices, in units. Without `may_share`, no leaf shares tokens."""
    units: list[Unit] = []
    leaves: list[Leaf] = []
    n_tokens = 0
    for leaf in _leaves(requests):
        n_shared = leaf.n_shared if may_share else 0
        if leaves and n_tokens >= max(LEAST_UNIT, LEAST_SAVING * n_shared):
            units.append(Unit(tuple(leaves), n_tokens))
            leaves, n_tokens = [], 0
        n_shared = n_shared if leaves else 0
        leaves.append(leaf._replace(n_shared=n_shared))
        n_tokens += requests[leaf.longest].n_inputs - n_shared
    return (*units, Unit(tuple(leaves), n_tokens)) if leaves else ()


def generation_units(
    requests: Mapping[int, GenerationTokens], n_parallel: int, *, may_share: bool
) -> tuple[Unit, ...]:
    """Requests by their indices, in units of some texts; each request is a leaf of its own."""
    key = {index: _key(one.prompt) for index, one in requests.items()}
    order = sorted(requests, key=lambda index: (key[index], index))
    units: list[Unit] = []
    leaves: list[Leaf] = []
    n_tokens = n_generated = 0
    for index in order:
        prompt, longest = requests[index].prompt, requests[index].max_tokens
        if len(leaves) >= n_parallel and n_generated + longest > GENERATED_IN_UNIT:
            units.append(Unit(tuple(leaves), n_tokens))
            leaves, n_tokens, n_generated = [], 0, 0
        n_shared = 0
        if leaves and may_share:  # the last token is run again: its logits are needed
            before = requests[leaves[-1].longest].prompt
            n_shared = min(n_common([before, prompt]), len(prompt) - 1)
        leaves.append(Leaf((index,), index, n_shared))
        n_tokens += len(prompt) - n_shared
        n_generated += longest
    return (*units, Unit(tuple(leaves), n_tokens)) if leaves else ()


def _leaves(requests: Mapping[int, LikelihoodTokens]) -> Iterator[Leaf]:
    """Requests in order; those of which one is a prefix of the other are together."""
    order = _sorted(requests)
    if not order:
        return
    together, longest, n_before = [order[0]], order[0], 0
    for index in order[1:]:
        n_shared = _n_shared(requests[longest], requests[index])
        if n_shared == requests[longest].n_inputs:
            longest = index
        elif n_shared < requests[index].n_inputs:
            yield Leaf(tuple(together), longest, n_before)
            together, longest, n_before = [], index, n_shared
        together.append(index)
    yield Leaf(tuple(together), longest, n_before)


def _sorted(requests: Mapping[int, LikelihoodTokens]) -> list[int]:
    """Indices in the order of their tokens; equal contexts are one array, so one key serves them.

    Where one context is a prefix of another, the order is not quite that of the whole
    sequences: then a little less is shared.
    """
    key_of: dict[int, bytes] = {}
    for one in requests.values():
        if id(one.context) not in key_of:
            key_of[id(one.context)] = _key(one.context)

    def key(index: int) -> tuple[bytes, bytes, int]:
        one = requests[index]
        return key_of[id(one.context)], _key(one.continuation), index

    return sorted(requests, key=key)


def _key(tokens: Integers) -> bytes:
    """Bytes that sort as the tokens do."""
    return tokens.astype(">u4").tobytes()


def _n_shared(one: LikelihoodTokens, other: LikelihoodTokens) -> int:
    """The number of input tokens that two requests begin with alike."""
    if one.context is other.context:
        n_rest = n_common([one.continuation[:-1], other.continuation[:-1]])
        return len(one.context) + n_rest
    return n_common([one.inputs(), other.inputs()])
