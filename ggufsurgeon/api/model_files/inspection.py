"""What a file is, and which windows of it can be repeated, from its header."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.whole_models.file_kinds import FileKind, other_kind
from ggufsurgeon.rules.windows import Judgement, judge_windows


@dataclass(frozen=True)
class Inspection:
    """A file with its blocks, their kinds and the judgement of every window.

    `refusal` is the reason for which no path can be written, where there is one, and `instead` what
    to do then. `other_kind` is what a file is that is not one whole language model.
    """

    file: GgufFile
    blocks: Blocks | None = None
    kinds: tuple[str, ...] = ()
    windows: tuple[Judgement, ...] = ()
    refusal: str | None = None
    instead: str = ""
    other_kind: FileKind | None = None


def inspect_file(file: GgufFile) -> Inspection:
    """As `ModelFile.inspect`."""
    try:
        blocks = find_blocks(file)
    except (RefusedError, MalformedFileError) as error:
        kind = other_kind(file.header)
        return Inspection(file, refusal=str(error), instead=error.hint, other_kind=kind)
    try:
        kinds = tuple(ModelRules(file, blocks).labels())
        windows = tuple(judge_windows(file, blocks))
    except RefusedError as error:
        return Inspection(file, blocks, refusal=str(error), instead=error.hint)
    refused = all(window.refusal for window in windows)
    return Inspection(file, blocks, kinds, windows, windows[0].refusal if refused else None)
