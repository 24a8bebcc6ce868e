"""A name, or a path, to a file on disk, or to a header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.container.shards import siblings
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.locating.hub.address import HubAddress, HubPath, hub_address
from ggufsurgeon.locating.hub.download import download
from ggufsurgeon.locating.hub.file_list import no_file_named, told_names
from ggufsurgeon.locating.hub.header import Fetched, read_hub_header
from ggufsurgeon.locating.model_name import ModelName, check_path, model_name
from ggufsurgeon.locating.stores import llama_cpp, lm_studio, ollama
from ggufsurgeon.locating.stores.hub_cache import cached_file, cached_ggufs, hub_cache
from ggufsurgeon.progress import NO_PROGRESS, Progress

STORES = {"ollama": ollama.find, "lmstudio": lm_studio.find, "llama.cpp": llama_cpp.find}


class Located(NamedTuple):
    """A model that was found: on disk, or only its header."""

    file: GgufFile
    fetched: Fetched | None = None
    """What was read of it over the network; None for a file on disk."""


def locate(path: str | os.PathLike[str]) -> Located:
    """Read the header of a model by its path or name, over the network if it is not on disk.

    Nothing is downloaded. Raises as `open_gguf`; UsageError also for a name that is nowhere,
    or when the network fails, and MissingExtraError without huggingface_hub.
    """
    name = model_name(path)
    if name is None:
        check_path(path)
        return Located(open_gguf(path))
    found = _on_disk(name)
    if isinstance(found, HubAddress):
        return Located(*read_hub_header(found))
    return Located(open_gguf(found))


def local_file(path: str | os.PathLike[str], progress: Progress = NO_PROGRESS) -> Path:
    """The file on disk that a path or a name means; one on the hub is downloaded into its cache.

    A path is returned as it is. Raises UsageError, WriteFailedError when the cache cannot be
    written, and MissingExtraError without huggingface_hub.
    """
    name = model_name(path)
    if name is None:
        check_path(path)
        return Path(path)
    found = _on_disk(name)
    return download(found, progress) if isinstance(found, HubAddress) else found


def is_remote(file: GgufFile) -> bool:
    """Whether only the header of a model was read, over the network."""
    return isinstance(file.path, HubPath)


def check_on_disk(*files: GgufFile) -> None:
    """Raise RefusedError for a model of which only the header was read."""
    for file in filter(is_remote, files):
        raise RefusedError(
            f"{file.path} is on the Hub, and only its header was read",
            hint="Download it first, and use the file: `ModelFile.download` in Python.",
        )


def _on_disk(name: ModelName) -> Path | HubAddress:
    """The file that a name means, or where it is on the hub if it is not on disk."""
    if name.scheme in STORES:
        return STORES[name.scheme](name)
    address = hub_address(name)
    if not address.path:
        raise _no_file(address)
    cached = {
        str(path): cached_file(hub_cache(), address.repo, str(path), address.revision)
        for path in siblings(Path(address.path))
    }
    found = cached[address.path]
    return address if found is None or None in cached.values() else found


def _no_file(address: HubAddress) -> UsageError:
    """The error for a repository without a file: which files it has, here if not on the hub."""
    try:
        return no_file_named(address)
    except UsageError:
        names = sorted(cached_ggufs(hub_cache(), address.repo, address.revision))
        if not names:
            raise
        return UsageError(
            f"{address} names a repository: name a file of it",
            hint=f"{told_names(names)} (in the cache)",
        )
