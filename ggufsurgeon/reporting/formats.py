"""File formats of pictures, checked before hours of measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ggufsurgeon.errors import MissingExtraError, UsageError

FORMATS: Final = ("png", "svg", "pdf")


def check_picture(path: Path) -> str:
    """The format of a picture that shall be called `path`, one of FORMATS.

    Raises UsageError when its suffix names none of them, MissingExtraError without matplotlib.
    """
    picture_format = path.suffix[1:].lower()
    if picture_format not in FORMATS:
        known = ", ".join(f".{known}" for known in FORMATS)
        raise UsageError(
            f"{path}: the suffix of a picture tells its format",
            hint=f"Use one of {known}.",
        )
    try:
        import matplotlib.figure  # noqa: F401 - the part that is used, with what it needs
    except ImportError as error:
        raise MissingExtraError(
            f"a picture is drawn with matplotlib, which cannot be imported: {error}",
            hint="pip install 'ggufsurgeon[plot]'",
        ) from error
    return picture_format
