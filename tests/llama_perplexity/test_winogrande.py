"""Which tokens of a winogrande task are scored, and the row that is read wrongly.

The expected values follow from tools/perplexity/perplexity.cpp:1176-1233 by hand.
"""

from __future__ import annotations

import numpy as np
import pytest

from ggufsurgeon.llama_perplexity.winogrande import first_requested, rows_read, scored_spans


@pytest.mark.parametrize(
    ("lengths", "n_common", "n_begun", "spans"),
    [
        ((20, 21), 10, (12, 13), [(12, 19), (13, 20)]),  # what follows the choice
        ((14, 21), 10, (12, 13), [(12, 13), (13, 20)]),  # four more than both share
        ((13, 21), 10, (12, 13), [(10, 12), (10, 20)]),  # three: the choice too
        ((20, 21), 10, (19, 20), [(19, 20), (20, 21)]),  # the last token, if it is alone
        ((20, 21), 10, (20, 13), [(20, 20), (13, 20)]),  # none
    ],
)
def test_scored_tokens(
    lengths: tuple[int, int],
    n_common: int,
    n_begun: tuple[int, int],
    spans: list[tuple[int, int]],
) -> None:
    assert scored_spans(lengths, n_common, n_begun) == spans


@pytest.mark.parametrize("is_from_common", [True, False])
def test_the_second_sentence_is_read_behind_the_first(is_from_common: bool) -> None:
    """Sentences of 13 and 14 tokens that share 10, scored from the first that differs, or not."""
    first = 10 if is_from_common else 11
    spans = [(first, 12), (first, 13)]
    predicting = [np.array([9, 10], np.int32), np.array([9, 13, 14], np.int32)]
    rows = rows_read(predicting, spans, n_common=10, n_first=13)
    assert rows[0].tolist() == [9, 10]
    assert rows[1].tolist() == ([12, 13, 14] if is_from_common else [9, 13, 14])
    assert predicting[1][0] == 9


def test_logits_are_requested_from_the_last_shared_token_on() -> None:
    assert (first_requested(10), first_requested(0)) == (9, 0)
