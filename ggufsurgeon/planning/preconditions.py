"""Is this file a whole model at all? Companion files and shards are refused, with the reason."""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, RefusedError


def check_is_whole_model(file: GgufFile) -> None:
    """Raise RefusedError for files that are not one whole model."""
    header = file.header
    kind = header.get("general.type")
    if kind not in (None, "model"):
        raise RefusedError(f"{file.path} is of type {kind!r}, not a model: it has no layer path")
    n_shards = header.get("split.count")
    if isinstance(n_shards, int) and n_shards > 1:
        raise RefusedError(
            f"{file.path} is one of {n_shards} shards; this version reads single files",
            hint="Join the shards first: llama-gguf-split --merge FIRST-SHARD JOINED.gguf",
        )
    if header.architecture is None:
        raise MalformedFileError(str(file.path), "the key general.architecture is missing")
