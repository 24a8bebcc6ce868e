"""From scores to a verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.verdicts.findings import ProbeFindings
from ggufsurgeon.scanning.verdicts.judging import ProbeData, Split, judge
from ggufsurgeon.scanning.windows import WindowRange, repeats
from ggufsurgeon.store.scan_scores import ScannedPath

N_BLOCKS, N_ITEMS = 6, 60
PATHS = [str(one.path) for one in repeats(N_BLOCKS, WindowRange())]
BASE = str(LayerPath.identity(N_BLOCKS))
Scores = dict[str, dict[int, float]]


def scanned(path: str, refusal: str = "") -> ScannedPath:
    return ScannedPath(path, refusal, "", 1, 100, 50)


def scores(effect: float = 0.0, seed: int = 0) -> Scores:
    """All paths on all items, with an effect of the third in standard deviations."""
    generator = np.random.default_rng(seed)
    base = generator.standard_normal(N_ITEMS) * 3
    found = {BASE: dict(enumerate(base.tolist()))}
    shared = generator.standard_normal(N_ITEMS)
    for number, path in enumerate(PATHS):
        own = generator.standard_normal(N_ITEMS) + shared + effect * (number == 3)
        found[path] = dict(enumerate((base + own).tolist()))
    return found


def judged(found: Scores, paths: list[ScannedPath] | None = None, **split: float) -> ProbeFindings:
    labels = [f"item {n}" for n in range(N_ITEMS)]
    known = paths if paths is not None else [scanned(path) for path in PATHS]
    return judge(ProbeData("text", "nats", labels, found), known, N_BLOCKS, Split(**split))  # type: ignore[arg-type]


def test_an_effect_is_found_and_noise_is_not() -> None:
    better, noise = judged(scores(2.0)), judged(scores(0.0))
    assert better.is_better and better.paths[0].layer_path == PATHS[3]
    assert PATHS[3] in better.verdict and not noise.is_better and noise.verdict.startswith("Noise")
    held_out = better.paths[0].held_out
    assert held_out is not None and held_out.value == pytest.approx(2, abs=1)


def test_wrong_verdicts_are_rare() -> None:
    """Both tests have to agree: fewer than the 5 % of either."""
    n = sum(judged(scores(seed=seed)).is_better for seed in range(100))
    assert n <= 5


def test_the_search_is_of_other_items_than_the_judgement() -> None:
    """An effect on the search items alone chooses the path, and is not believed."""
    found = scores()
    is_held_out = judged(found).is_held_out
    for item in range(N_ITEMS):
        found[PATHS[3]][item] += 0.0 if is_held_out[item] else 4.0
    told = judged(found)
    assert told.paths[0].layer_path == PATHS[3] and not told.is_better
    best = told.paths[0]
    assert best.search is not None and best.held_out is not None
    assert best.search.value > 3 > best.held_out.value


def test_differences_are_paired_by_item() -> None:
    found = scores()
    told = judged(found)
    for path in told.paths:
        expected = [found[path.layer_path][n] - found[BASE][n] for n in range(N_ITEMS)]
        assert path.differences == pytest.approx(expected)
    assert told.item_bases == pytest.approx([found[BASE][n] for n in range(N_ITEMS)])


def test_a_scan_that_is_not_finished_has_no_verdict() -> None:
    """The paths that are missing could be better, and there would be more of them to be lucky."""
    found = scores(3.0)
    assert judged(found).is_better
    without_a_path = {path: of for path, of in found.items() if path != PATHS[8]}
    told = judged(without_a_path)
    assert not told.is_better and "1 of 21 paths have no score yet" in told.verdict
    del found[PATHS[8]][N_ITEMS - 1]
    told = judged(found)
    assert not told.is_better and "59 of 60 items are scored along all paths" in told.verdict


def test_items_without_a_base_are_told() -> None:
    found = scores()
    found[BASE][5] = found[BASE][9] = math.nan
    told = judged(found)
    assert told.notes == (
        "Items left out, since the unmodified model has no finite score there: 2 of 60.",
    )
    assert judged(scores()).notes == ()


def test_an_interrupted_scan_is_judged_on_the_items_of_all_paths() -> None:
    found = scores()
    for path in PATHS[5:]:
        for item in range(40, N_ITEMS):
            del found[path][item]
    told = judged(found)
    assert len(told.item_labels) == 40
    assert all(path.z is not None for path in told.paths)


def test_paths_without_a_score_come_last_with_the_reason() -> None:
    found = scores()
    found[PATHS[0]][7] = math.nan
    del found[PATHS[1]]
    del found[PATHS[2]]
    known = [scanned(path, "crosses blocks" if path == PATHS[2] else "") for path in PATHS]
    told = judged(found, known)
    problems = {path.layer_path: path.problem for path in told.paths if path.z is None}
    assert problems == {
        PATHS[0]: "its scores are not finite numbers",
        PATHS[1]: "not scanned yet",
        PATHS[2]: "crosses blocks",
    }
    assert [path.z is None for path in told.paths[-3:]] == [True] * 3
    assert len(told.item_labels) == N_ITEMS


@pytest.mark.parametrize("n_items", [0, 1, 3, 9])
def test_too_few_items_have_no_verdict(n_items: int) -> None:
    found = {
        path: {item: score for item, score in of_path.items() if item < n_items}
        for path, of_path in scores(5.0).items()
    }
    told = judged(found)
    assert not told.is_better
    assert "No" in told.verdict and "Noise" not in told.verdict


def test_a_model_whose_own_logits_are_no_numbers() -> None:
    found = scores()
    found[BASE] = dict.fromkeys(range(N_ITEMS), math.nan)
    assert "unmodified model are not finite numbers" in judged(found).verdict


def test_nothing_is_scored_yet() -> None:
    told = judged({})
    assert "21 of 21 paths have no score yet" in told.verdict and not told.is_better
    assert math.isnan(told.luck_z)
