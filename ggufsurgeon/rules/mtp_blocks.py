"""MTP blocks in messages: the last blocks, which predict further tokens outside the main graph."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix
from ggufsurgeon.errors import MalformedFileError, UsageError

MTP = "MTP (multi-token prediction)"
QWEN35 = (
    "has an MTP block: llama.cpp before b9180 (May 2026), koboldcpp 1.113 and Ollama 0.24.0 are "
    "known not to load such files of this architecture"
)
"""OpenWhispr/openwhispr#939, lmstudio-bug-tracker#1924, koboldcpp#2211, ollama#16282."""
LACKING = (
    "counts MTP blocks in its metadata that it does not contain, as its source does: llama-server "
    "of llama.cpp 0.7.0 crashes when it is asked to draft with MTP blocks, which Ollama from 0.30 "
    "on does for every file that counts some; a file without MTP blocks avoids this"
)
"""Seen with glm4moe and step35. Ollama: `hasMTPDraft`, llm/llama_server.go of fb30760."""
LACKING_GLM4MOE = "; llama.cpp of March 2026 is known not to load such files of this architecture"
"""axolotl-ai-cloud/axolotl#3559."""
WITH_TENSORS = {"qwen35": QWEN35, "qwen35moe": QWEN35}
WITHOUT_TENSORS = {"glm4": LACKING_GLM4MOE, "glm4moe": LACKING_GLM4MOE}


def mtp_count_key(header: Header) -> str:
    """The key that holds the number of MTP blocks."""
    return f"{header.architecture}.nextn_predict_layers"


def mtp_notes(header: Header, n_mtp: int, has_tensors: bool) -> Iterator[str]:
    """Facts about engines that do not know the MTP blocks of a model."""
    architecture = header.architecture or ""
    if n_mtp and not has_tensors:
        yield LACKING + WITHOUT_TENSORS.get(architecture, "")
    elif n_mtp and architecture in WITH_TENSORS:
        yield WITH_TENSORS[architecture]


def missing_mtp(file: GgufFile, n_trunk: int, n_blocks: int, block: int) -> MalformedFileError:
    """The error for a file that counts MTP blocks and lacks the tensors of them, from `block` on.

    Both keys are needed: the number of blocks behind the trunk is the second (hparams.n_layer(),
    src/llama-hparams.cpp:348).
    """
    prefix = f"{file.header.architecture}."
    keys = f"{prefix}block_count = {block}, {prefix}nextn_predict_layers = {block - n_trunk}"
    arrays = list(_arrays_of(file.header, n_blocks))
    if arrays:
        hint = (
            f"llama.cpp loads it with {keys}, and {block} elements in {', '.join(arrays)}: convert "
            "the model again, without its MTP blocks."
        )
    else:
        hint = (
            f"llama.cpp loads it with two keys changed: {keys}. gguf-set-metadata, of the Python "
            "package gguf, changes them."
        )
    return MalformedFileError(
        str(file.path),
        f"block {block}, which {prefix}nextn_predict_layers counts as an {MTP} block, has no "
        "tensors: llama.cpp does not load such a file",
        hint=hint,
    )


def mtp_in_path(n_trunk: int, n_blocks: int) -> UsageError:
    """The error for a layer path that runs MTP blocks."""
    if n_blocks == n_trunk + 1:
        named, does, it = f"block {n_trunk} is the {MTP} block", "predicts", "it"
    else:
        named = f"blocks {n_trunk} to {n_blocks - 1} are the {MTP} blocks"
        does, it = "predict", "them"
    return UsageError(
        f"{named} of this model, which {does} further tokens outside the main graph: no layer path "
        f"runs {it}",
        hint=f"Use blocks 0 to {n_trunk - 1}: MTP blocks stay behind the last block of every path.",
    )


def _arrays_of(header: Header, n_blocks: int) -> Iterator[str]:
    """Keys of arrays with an element for each block."""
    for pair in header.pairs:
        if pair.value_type != ValueType.ARRAY or not pair.key.startswith(f"{header.architecture}."):
            continue
        if read_array_prefix(pair.raw, pair.value_at, header.byte_order)[1] == n_blocks:
            yield pair.key
