"""Differences of a model from a base, chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ggufsurgeon.reporting.lettering import with_error
from ggufsurgeon.reporting.loss_picture.exponential_axis import add_exponential_axis
from ggufsurgeon.reporting.loss_picture.series import Series, drawable, limits, n_left_out
from ggufsurgeon.reporting.panel import count_along, left_out, name_ticks, write_heading
from ggufsurgeon.reporting.style import BAND, BETTER, INK, WORSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ggufsurgeon.statistics.divergence import Comparison

LEAST: Final = 1e-4
"""Shortest range of the axis in nats: a shorter one would show rounding as peaks."""
MOST_BARS: Final = 150


def draw_differences(axes: Axes, differences: Series, comparison: Comparison) -> None:
    """Draw the model's mean loss minus the base's for each chunk, and their mean and error."""
    band = _band(comparison)
    low, high = limits(differences, np.zeros(1), band, least=LEAST)
    margin = 0.18 * (high - low)  # for the words above and below
    axes.set_ylim(low - margin, high + margin)
    _draw_chunks(axes, differences)
    axes.axhline(0, color=INK, linewidth=0.8)
    if np.isfinite(band).all():
        _draw_mean(axes, comparison.ln_ratio.value, band)
    _count_sides(axes, differences)
    name_ticks(axes, "difference, nats per token", sign="+")
    add_exponential_axis(axes, "perplexity ratio")
    count_along(axes, 1, len(differences), "chunk of the text")
    note = _note(comparison) + left_out(n_left_out(differences))
    write_heading(axes, _heading(comparison), note)


def _draw_chunks(axes: Axes, differences: Series) -> None:
    places = np.arange(1, len(differences) + 1)
    colours = np.where(differences > 0, WORSE, BETTER).tolist()
    if len(differences) <= MOST_BARS:
        axes.bar(places, differences, color=colours, width=0.8)
    else:
        axes.scatter(places, differences, c=colours, s=11, linewidths=0.3, edgecolors="white")


def _band(comparison: Comparison) -> Series:
    """The mean minus and plus two standard errors."""
    reach = 2 * comparison.larger_error
    return drawable([comparison.ln_ratio.value - reach, comparison.ln_ratio.value + reach])


def _draw_mean(axes: Axes, mean: float, band: Series) -> None:
    """Draw the band below the chunks, its edges and the mean above them."""
    axes.axhspan(*band, color=BAND, linewidth=0, zorder=0.5)
    for edge in band:
        axes.axhline(edge, color=INK, linewidth=0.6, zorder=4)
    axes.axhline(mean, color=INK, linewidth=1.4, linestyle="--", zorder=4)


def _count_sides(axes: Axes, differences: Series) -> None:
    """Write how many chunks are worse and better, in the margins above and below the data."""
    n = len(differences)
    worse, better = int((differences > 0).sum()), int((differences < 0).sum())
    words = [
        (0.97, "top", WORSE, f"▲ worse than the base: {worse:,} of {n:,}"),
        (0.03, "bottom", BETTER, f"▼ better than the base: {better:,} of {n:,}"),
    ]
    for height, side, colour, text in words:
        axes.text(
            0.005,
            height,
            text,
            color=colour,
            verticalalignment=side,
            transform=axes.transAxes,
            bbox={"color": "white", "pad": 1},
        )


def _heading(comparison: Comparison) -> str:
    found = with_error(comparison.ln_ratio.value, comparison.larger_error, sign="+")
    return f"Difference by chunk: ln(perplexity ratio) {found}"


def _note(comparison: Comparison) -> str:
    over_tokens = comparison.ln_ratio.error or 0.0
    over_chunks = comparison.ln_ratio_error_over_chunks
    if over_chunks is None:
        return "dashes and band: mean ± 2 errors, as if tokens were independent"
    return (
        f"dashes and band: mean ± 2 errors, the larger of {over_tokens:.2g} if tokens were "
        f"independent and {over_chunks:.2g} over {comparison.n_chunks:,} chunks"
    )
