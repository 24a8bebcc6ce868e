"""Notes on the texts that a command reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.cli.output.terminal import print_note
from ggufsurgeon.cli.shared_options.standard_input import STANDARD_INPUT

if TYPE_CHECKING:
    from ggufsurgeon.scoring.text_sources.texts import Text


def noted_text(text: Path) -> Text:
    """The text, after notes on the files of a folder and on bytes that change the figures.

    It is read here and not again, since pipes can be read but once. Raises what `content_of`
    raises, before a model is loaded.
    """
    from ggufsurgeon.scoring.text_sources.text_formats import notes_on_text
    from ggufsurgeon.scoring.text_sources.texts import content_of, text_files

    files = text_files(text)
    if files != [text]:
        print_note(f"{text}: {', '.join(file.name for file in files)}")
    read = content_of(text)
    name = "standard input" if text == STANDARD_INPUT else text
    for note in notes_on_text(read.content):
        print_note(f"{name}: {note}")
    return read
