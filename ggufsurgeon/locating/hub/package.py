"""huggingface_hub, imported when a name on the hub is used, and quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from ggufsurgeon.errors import MissingExtraError

INSTALL = "pip install 'ggufsurgeon[hub]'"


def import_hub(name: object) -> ModuleType:
    """The package huggingface_hub. Raises MissingExtraError when it cannot be imported."""
    try:
        for part in ("errors", "utils", "utils.logging"):
            import_module(f"huggingface_hub.{part}")
        return import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is on the Hugging Face Hub: this needs the package huggingface_hub, which "
            f"cannot be imported: {error}",
            hint=f"{INSTALL}, or download the file and give its path.",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what huggingface_hub logs to itself, such as each retry: an error says it once."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
