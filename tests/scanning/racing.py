"""Races over scores that are made up: of windows that overlap, and differ alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.scanning.racing.race import Course, Race, current_round
from ggufsurgeon.scanning.windows import WindowRange, repeats

Scores = dict[str, dict[int, float]]


class Raced(NamedTuple):
    """What a race left."""

    scores: Scores
    finalists: tuple[str, ...]
    n_item_passes: int


def window_paths(n_blocks: int) -> list[str]:
    return [str(one.path) for one in repeats(n_blocks, WindowRange())]


def overlapping(n_blocks: int, n_items: int, effect: float, seed: int, planted: int = 0) -> Scores:
    """All windows on all items. The planted one is `effect` standard deviations better.

    Windows share the noise of their blocks, and the effect as far as they overlap.
    """
    generator = np.random.default_rng(seed)
    windows = [one.window or (0, 0) for one in repeats(n_blocks, WindowRange())]
    has = np.array([[i <= block < j for block in range(n_blocks)] for i, j in windows], dtype=float)
    lengths = has.sum(axis=1, keepdims=True)
    of_blocks = has @ generator.standard_normal((n_blocks, n_items)) / np.sqrt(lengths)
    noise = 0.9 * of_blocks + 0.44 * generator.standard_normal(of_blocks.shape)
    common = has @ has[planted]
    overlap = common / (lengths[:, 0] + has[planted].sum() - common)
    scales = np.exp(generator.normal(0, 1, len(windows)))[:, np.newaxis]
    differences = scales * (noise + effect * overlap[:, np.newaxis])
    base = 3 * generator.standard_normal(n_items)
    found = {str(LayerPath.identity(n_blocks)): dict(enumerate(base.tolist()))}
    for path, values in zip(window_paths(n_blocks), (base + differences).tolist(), strict=True):
        found[path] = dict(enumerate(values))
    return found


def run_race(course: Course, n_blocks: int, every: Scores) -> Raced:
    """Take the scores that a race asks for, round by round."""
    base, paths = str(LayerPath.identity(n_blocks)), window_paths(n_blocks)
    known: Scores = {}
    while (now := current_round(course, paths, base, known)).items:
        for path in (base, *now.paths):
            known.setdefault(path, {}).update({item: every[path][item] for item in now.items})
    return Raced(known, now.paths, sum(map(len, known.values())))


def search_winner(every: Scores, course: Course, n_blocks: int) -> str:
    """The path that a scan of all paths on all items chooses."""
    base = every[str(LayerPath.identity(n_blocks))]

    def z(path: str) -> float:
        values = np.array([every[path][n] - base[n] for n in range(course.n_search)])
        return float(values.mean() / values.std(ddof=1))

    return max(window_paths(n_blocks), key=z)


def default_course(n_items: int) -> Course:
    return Race().course(n_items)
