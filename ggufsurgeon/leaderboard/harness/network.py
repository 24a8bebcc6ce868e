"""The Hugging Face Hub, where it can be reached and may be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PROBE_SECONDS = 5.0


def is_offline() -> bool:
    """Whether the variable HF_HUB_OFFLINE is set: the user wants no network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def without_waiting_for_the_hub() -> Iterator[None]:
    """Set the packages of the Hugging Face Hub to offline where the Hub cannot be reached.

    They would retry for 23 s for each dataset, also for one that is in their cache.
    """
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    if not constants.HF_HUB_OFFLINE and not _is_reached(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def _is_reached(url: str) -> bool:
    try:
        with urlopen(Request(url, method="HEAD"), timeout=PROBE_SECONDS):
            return True
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False
