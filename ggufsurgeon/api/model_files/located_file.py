"""A model file that is found by its path or its name, and read up to the end of its header."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.locating.locate import check_on_disk, is_remote, locate

if TYPE_CHECKING:
    from ggufsurgeon.locating.hub.header import Fetched


class LocatedFile:
    """A model file and where it was found. Raises as `ggufsurgeon.open`."""

    def __init__(self, path: PathLike) -> None:
        located = locate(path)
        self.file: GgufFile = located.file
        self.path: Path = self.file.path
        self.fetched: Fetched | None = located.fetched
        """The commit on the Hub, and the bytes that were read; None for a file on disk."""

    @property
    def is_remote(self) -> bool:
        """Whether the model is on the Hub, and only its header was read."""
        return is_remote(self.file)

    def _on_disk(self) -> GgufFile:
        """The file, for callers that read its data. Raises RefusedError for a model on the Hub."""
        check_on_disk(self.file)
        return self.file
