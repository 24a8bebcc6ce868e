"""Refusal of files that are not one whole model: companion files, shards, vocabularies."""

from __future__ import annotations

from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, RefusedError


class Companion(NamedTuple):
    """A file that goes with a model: what it is, and what to do instead of patching it."""

    what: str
    instead: str


PROJECTOR = Companion(
    "a projector of images or sound",
    "Patch the language model that it belongs to; it fits the patched model as it is.",
)
DRAFT = Companion(
    "a draft of another model, some of whose blocks it reads by their numbers",
    "Patch that model alone, and run it without the draft.",
)
OF_TYPE = {
    "adapter": Companion(
        "an adapter (LoRA) for the blocks of another model",
        "Merge it into that model with llama-export-lora, and patch the result.",
    ),
    "imatrix": Companion(
        "an importance matrix for the weights of another model",
        "Quantize that model with it first, and patch the result.",
    ),
    "mmproj": PROJECTOR,
}
"""Companions by `general.type` (gguf-py/gguf/constants.py:489-493)."""
OF_ARCHITECTURE = {
    "clip": PROJECTOR,
    "controlvector": Companion(
        "a set of control vectors, one for each block of another model",
        "Patch that model, and make new vectors for the result (llama-cvector-generator).",
    ),
    "dflash": DRAFT,
    "eagle3": DRAFT,
    "gemma4-assistant": DRAFT,
}
"""Companions by `general.architecture`, whatever the type is."""


def check_is_whole_model(file: GgufFile) -> None:
    """Raise RefusedError for files that are not one whole model."""
    header = file.header
    kind = header.get("general.type")
    if kind is None and "adapter.type" in header.pair_of:
        kind = "adapter"
    companion = OF_TYPE.get(str(kind)) or OF_ARCHITECTURE.get(str(header.architecture))
    if companion is not None:
        raise RefusedError(
            f"{file.path} is {companion.what}: it has no layer path of its own",
            hint=companion.instead,
        )
    if kind not in (None, "model"):
        raise RefusedError(f"{file.path} is of type {kind!r}, not a model: it has no layer path")
    n_shards = header.get("split.count")
    if isinstance(n_shards, int) and n_shards > 1:
        raise RefusedError(
            f"{file.path} is one of {n_shards} shards; this version reads single files",
            hint="Join the shards with llama-gguf-split (merge) first.",
        )
    if header.architecture is None:
        raise MalformedFileError(str(file.path), "the key general.architecture is missing")
    if not header.tensors and "tokenizer.ggml.model" in header.pair_of:
        raise RefusedError(
            f"{file.path} is a vocabulary alone: it has no tensors, so no blocks",
            hint="Patch the model that it is the vocabulary of.",
        )
