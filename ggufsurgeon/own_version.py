"""The version of the installed package."""

from __future__ import annotations

from functools import cache

from ggufsurgeon.errors import UsageError


@cache
def own_version() -> str:
    """The version, such as `1.0.0`. Raises UsageError where the package is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes 0.02 s to import

    try:
        return version("ggufsurgeon")
    except PackageNotFoundError:
        raise UsageError(
            "ggufsurgeon is not installed in this Python: it runs from a folder of its source, and "
            "its version is not known",
            hint="Install it first. In the folder of the source: pip install '.[llama,serve]'",
        ) from None
