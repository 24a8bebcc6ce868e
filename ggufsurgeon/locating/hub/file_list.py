"""The GGUF files of a repository on the hub."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.hub.address import HubAddress
from ggufsurgeon.locating.hub.failures import explained
from ggufsurgeon.locating.stores.listing import MOST_LISTED

NO_FILES = "It has no GGUF files."


def gguf_names(address: HubAddress) -> list[str]:
    """The paths of the GGUF files of a repository. Raises as `explained`."""
    with explained(address) as package:
        found = package.HfApi().model_info(
            address.repo,
            revision=address.revision,
            timeout=package.constants.HF_HUB_ETAG_TIMEOUT,
        )
    files = [sibling.rfilename for sibling in found.siblings or ()]
    return sorted(file for file in files if file.lower().endswith(".gguf"))


def told_names(names: Sequence[str]) -> str:
    """The names of a repository's GGUF files, in a sentence."""
    more = f", and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    listed = ", ".join(map(printable, names[:MOST_LISTED]))
    return f"Its GGUF files: {listed}{more}" if names else NO_FILES


def no_file_named(address: HubAddress) -> UsageError:
    """The error for the name of a repository, or of one of its folders. Raises as `explained`."""
    return UsageError(
        f"{address} names a repository: name a file of it", hint=told_names(gguf_names(address))
    )
