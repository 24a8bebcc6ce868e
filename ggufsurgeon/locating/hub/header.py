"""The header of a model on the hub, without its data."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile, join_shards, read_header
from ggufsurgeon.container.headers.codec import MAGIC
from ggufsurgeon.container.shards import shard_of, shard_paths
from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.hub.address import HubAddress, HubPath, hub_address
from ggufsurgeon.locating.hub.failures import explained
from ggufsurgeon.locating.hub.remote_bytes import FIRST_N_BYTES, RemoteBytes


class Fetched(NamedTuple):
    """What was read of a model on the hub."""

    commit: str
    """The commit of the repository, in hexadecimal."""
    n_bytes: int
    """Bytes that were taken from the server, of all shards together."""


def read_hub_header(address: HubAddress) -> tuple[GgufFile, Fetched]:
    """The header of a file on the hub; of a shard, that of its model, from the headers of all.

    The paths of the files are `HubPath`s. Nothing is written. Raises UsageError when the hub or the
    network fails, MalformedFileError for a file that is no GGUF, and MissingExtraError.
    """
    file, fetched = _read(address)
    shard = shard_of(file.header, file.path)
    if shard is None:
        return file, fetched
    files, n_bytes = [], 0
    for path in shard_paths(file.path, shard):
        other = hub_address(HubPath(path))
        pinned = HubAddress(other.repo, other.path, fetched.commit)
        found, read = (file, fetched) if path == file.path else _read(pinned, other)
        files.append(found)
        n_bytes += read.n_bytes
    return join_shards(files), Fetched(fetched.commit, n_bytes)


def _read(address: HubAddress, shown: HubAddress | None = None) -> tuple[GgufFile, Fetched]:
    """The header of one file, called `shown` in messages."""
    path = HubPath(str(shown or address))
    with explained(address) as package:
        url = package.hf_hub_url(address.repo, address.path, revision=address.revision)
        told = package.get_hf_file_metadata(url, timeout=package.constants.HF_HUB_ETAG_TIMEOUT)
        # what is read in several requests must be of one commit
        pinned = package.hf_hub_url(address.repo, address.path, revision=told.commit_hash or "")
    if told.commit_hash is None or told.size is None:
        raise UsageError(
            f"{shown or address}: the server does not say how large the file is, or its commit",
            hint="Check HF_ENDPOINT; or download the file and give its path.",
        )
    with RemoteBytes(shown or address, pinned, told.size) as data:
        is_gguf = data[: len(MAGIC)] == MAGIC
        # other formats are told apart by their first bytes too
        file = read_header(data if is_gguf else data[:FIRST_N_BYTES], path)
        return file, Fetched(told.commit_hash, data.n_bytes_fetched)
