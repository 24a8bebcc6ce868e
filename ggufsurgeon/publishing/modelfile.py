"""The Modelfile with which Ollama makes a model of a GGUF.

Ollama's parser (parser/parser.go of fb30760, 2026-08) takes a value up to the end of the line,
without quotation marks unless it begins with one, without spaces at its ends, and without
characters that are not printed. A path is relative to the folder of the Modelfile. A template
that the GGUF contains is Ollama's to find. FROM names one file, or a folder whose GGUFs are all
imported (`filesForModel`): since Ollama 0.30, shards in it are joined (server/create.go,
`mergeSplitGGUFLayers`), and a shard without the others is refused.
"""

from __future__ import annotations

import re

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.quoting import printable, quoted
from ggufsurgeon.errors import RefusedError

UNNAMED = "patched-model"
LONGEST_NAME = 60


def modelfile(patched: GgufFile) -> str:
    """The text of a Modelfile that is kept beside the GGUF.

    Raises RefusedError for shards, and for a file name that no Modelfile can contain.
    """
    name = patched.path.name
    if patched.shards:
        raise RefusedError(
            f"{patched.path}: a Modelfile names one file, and this model is in shards",
            hint="Write the same layer path as one file. Ollama 0.30 or later also imports shards, "
            "by FROM and a folder in which they are the only GGUF files.",
        )
    if printable(name) != name or name != name.rstrip():
        raise RefusedError(
            f"{patched.path}: no Modelfile can contain the file name {quoted(name)}",
            hint="Rename the file: letters, digits, dots and dashes work everywhere.",
        )
    return f"FROM ./{name}\n"


def ollama_name(patched: GgufFile) -> str:
    """A name for the model in Ollama, which takes lower-case letters, digits, dots and dashes."""
    stem = patched.path.name.lower().removesuffix(".gguf")
    found = re.sub(r"[^a-z0-9.]+", "-", stem)[:LONGEST_NAME].strip("-.")
    return found or UNNAMED
