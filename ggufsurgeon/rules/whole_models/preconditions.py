"""Refusal of files that are not one whole language model."""

from __future__ import annotations

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.rules.whole_models.file_kinds import FileKind, other_kind
from ggufsurgeon.rules.whole_models.reader_limits import check_llama_cpp_reads


def check_is_language_model(file: GgufFile) -> None:
    """Raise RefusedError for files that llama.cpp does not run as language models."""
    kind = other_kind(file.header)
    if kind is not None and not kind.may_run:
        error = _refusal(file, kind)
        error.state = ""  # a model that is run is not written
        error.hint = error.hint or "Give the GGUF of a language model instead."
        raise error


def check_is_whole_model(file: GgufFile) -> None:
    """Raise RefusedError for files that are not one whole language model.

    Raises MalformedFileError for one whose architecture is missing, or that llama.cpp does not
    read.
    """
    kind = other_kind(file.header)
    if kind is not None:
        raise _refusal(file, kind)
    if file.header.architecture is None:
        raise MalformedFileError(str(file.path), "the key general.architecture is missing")
    check_llama_cpp_reads(file)


def _refusal(file: GgufFile, kind: FileKind) -> RefusedError:
    return RefusedError(f"{file.path} is {kind.what}: {kind.why}", hint=kind.instead)
