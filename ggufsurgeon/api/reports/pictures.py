"""Pictures of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ggufsurgeon.api.paths import PathLike
    from ggufsurgeon.scoring.results import PathResult


def check_picture(
    picture: PathLike, sources: Sequence[PathLike] = (), *, replace: bool = False
) -> None:
    """What keeps `draw_losses` from making a picture, told before hours of measuring.

    Raises UsageError for another suffix than .png, .svg and .pdf, MissingExtraError without
    matplotlib, RefusedError when the file exists (unless `replace`) or is one of `sources`.
    """
    from ggufsurgeon.reporting.formats import check_picture as check_format
    from ggufsurgeon.writing.placement.preflight import check_place

    check_format(Path(picture))
    check_place([Path(source) for source in sources], Path(picture), replace=replace)


def draw_losses(
    measured: PathResult,
    picture: PathLike,
    *,
    title: str,
    model: str,
    base: str = "",
    replace: bool = False,
) -> None:
    """A picture of losses by position, and by chunk or how they differ from the base's.

    PNG, SVG or PDF, by the suffix of `picture`; `model` and `base` are what it calls them. Another
    file is overwritten only with `replace`.
    """
    from ggufsurgeon.reporting.formats import check_picture
    from ggufsurgeon.reporting.loss_picture.picture import Against, Side
    from ggufsurgeon.reporting.loss_picture.picture import draw_losses as drawn
    from ggufsurgeon.writing.new_file import write_bytes

    against = None
    if measured.base is not None and measured.comparison is not None:
        against = Against(Side(base, measured.base), measured.comparison)
    path = Path(picture)
    content = drawn(check_picture(path), title, Side(model, measured.perplexity), against)
    write_bytes(content, path, replace=replace)
