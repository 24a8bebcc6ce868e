"""What a beam search tries."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ggufsurgeon.layer_path.edits import Drop, Repeat, WindowEdit
from ggufsurgeon.scanning.search.beam import Space, beam_search
from ggufsurgeon.scanning.search.candidates import Composition
from ggufsurgeon.scanning.search.composition_paths import CompositionPaths
from ggufsurgeon.scanning.search.limits import SearchLimits

N_BLOCKS = 5


@pytest.mark.parametrize("max_paths", [12, 30, 1000])
def test_no_path_is_tried_twice(max_paths: int) -> None:
    """Blocks dropped one by one, and as one window, leave the same path."""
    windows = [(first, end) for first in range(4) for end in range(first + 1, 5)]
    singles: list[WindowEdit] = [Drop((window,)) for window in windows]
    singles += [Repeat((window,)) for window in windows]
    limits = SearchLimits(max_blocks=2, beam=8, max_paths=max_paths, strengths=(0.5,))
    paths = CompositionPaths(N_BLOCKS, lambda _: True)
    ran: list[str] = []

    def score(step: Sequence[Composition]) -> list[float]:
        ran.extend(str(paths.of(one)) for one in step)
        return [-float(len(one)) for one in step]

    tried = beam_search(Space(singles, limits, paths.usable), score)
    assert len(ran) == len(set(ran)) == len(tried) <= max_paths
    assert len(ran) > 20 or len(ran) == max_paths
