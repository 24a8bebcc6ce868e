"""Files of the hub, downloaded into the cache of huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ggufsurgeon.container.shards import siblings
from ggufsurgeon.locating.hub.address import HubAddress, HubPath, hub_address
from ggufsurgeon.locating.hub.failures import explained
from ggufsurgeon.progress import Progress


def download(address: HubAddress, progress: Progress) -> Path:
    """The file in the cache, with all shards of its model beside it. Raises as `explained`.

    A connection that breaks is resumed where it broke, a few times.
    """
    for path in siblings(HubPath(str(address))):
        each = hub_address(HubPath(path))
        with explained(each) as package:
            found = package.hf_hub_download(
                each.repo, each.path, revision=each.revision, tqdm_class=_bar_of(progress)
            )
        if each == address:
            place = Path(found)
    return place


def _bar_of(progress: Progress) -> type[Any]:
    """A class of progress bars as huggingface_hub makes them, which shows nothing itself."""
    from tqdm import tqdm  # huggingface_hub needs it

    class Reported(tqdm):  # type: ignore[misc]
        def __init__(self, *_: object, **options: Any) -> None:
            total = options.get("total") or 0
            super().__init__(disable=True, total=total)
            progress.begin("download", int(total), "bytes")
            progress.advance(int(options.get("initial") or 0))

        def update(self, n: float | None = 1) -> None:
            progress.advance(int(n or 0))

        def update_transfer(self, n: float) -> None:
            """Do nothing: Xet counts compressed bytes here, besides those of the file."""

        def set_transfer_postfix_str(self, *_: object, **__: object) -> None:
            """Do nothing."""

    return Reported
