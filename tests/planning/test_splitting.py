"""Which device has which block."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.sizing.splitting import CPU, assign_layers, balanced_shares

SHARES = st.lists(st.integers(0, 100), min_size=1, max_size=16).filter(any)


def test_the_output_counts_as_a_layer() -> None:
    assert assign_layers(5, (1, 1), -1) == [0, 0, 0, 1, 1, 1]
    assert assign_layers(4, (1, 1), -1) == [0, 0, 0, 1, 1]


def test_the_last_layers_go_to_the_gpus() -> None:
    assert assign_layers(5, (1, 1), 2) == [CPU, CPU, CPU, CPU, 0, 1]
    assert assign_layers(5, (1,), 0) == [CPU] * 6
    assert assign_layers(5, (), -1) == [CPU] * 6
    assert assign_layers(5, (1,), 99) == [0] * 6


def test_a_share_of_nothing() -> None:
    assert assign_layers(3, (0, 1, 0), -1) == [1, 1, 1, 1]


def test_llama_cpp_computes_in_32_bits() -> None:
    """Layer 3 of 10 is where 0.1 + 0.2 end; in 64 bits it would still be before that."""
    assert assign_layers(9, (0.1, 0.2, 0.7), -1) == [0, 1, 1, *[2] * 7]


@given(SHARES, st.integers(1, 512), st.integers(-1, 600))
def test_each_layer_is_somewhere_in_order(shares: list[int], n_blocks: int, n_gpu: int) -> None:
    layers = assign_layers(n_blocks, shares, n_gpu)
    assert len(layers) == n_blocks + 1
    assert layers == sorted(layers)
    assert all(layer == CPU or shares[layer] for layer in layers)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=100), SHARES)
def test_numbers_of_layers_are_shares_that_give_just_these(n: list[int], shares: list[int]) -> None:
    balanced = balanced_shares(n, shares)
    assert sum(balanced) == len(n)
    given_to = Counter(assign_layers(len(n) - 1, balanced, len(n)))
    assert [given_to[device] for device in range(len(shares))] == list(balanced)


def test_bytes_are_shared_out() -> None:
    assert balanced_shares([1, 1, 1, 1, 4], (1, 1)) == (4, 1)
    assert balanced_shares([1, 1, 1, 1, 4], (1, 3)) == (2, 3)
    assert balanced_shares([5], (1, 1)) in {(1, 0), (0, 1)}
