"""Log-probabilities of several tokens by one row are those of the only softmax of the package."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.llama_perplexity.softmax import losses_of
from ggufsurgeon.scoring.logits.row_targets import score_targets


@given(st.integers(1, 40), st.integers(0, 90), st.integers(2, 300), st.integers(0, 9))
def test_each_token_by_its_row(n_rows: int, n: int, n_vocab: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 5, (n_rows, n_vocab)).astype(np.float32)
    rows = generator.integers(0, n_rows, n).astype(np.int32)
    targets = generator.integers(0, n_vocab, n).astype(np.int32)
    with ThreadPoolExecutor(2) as pool:
        found = score_targets(logits, rows, targets, pool)
    assert np.array_equal(found.log_probs, -losses_of(logits[rows], targets))
    assert np.array_equal(found.are_likeliest, logits[rows].argmax(1) == targets)


def test_rows_that_are_no_numbers_are_told_apart() -> None:
    logits = np.zeros((4, 8), dtype=np.float32)
    logits[1, 3], logits[2, 5], logits[3, 0] = np.nan, np.inf, -np.inf
    rows, targets = np.arange(4, dtype=np.int32), np.full(4, 1, dtype=np.int32)
    with ThreadPoolExecutor(1) as pool:
        found = score_targets(logits, rows, targets, pool)
    assert np.isnan(found.log_probs).tolist() == [False, True, True, False]
    assert np.isclose(found.log_probs[[0, 3]], [-np.log(8), -np.log(7)]).all()
