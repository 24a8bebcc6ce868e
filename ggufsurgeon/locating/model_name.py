"""Names of models that are no paths: a scheme, and what the model is called there.

The schemes are those of other programs where they have one: `hf://` is that of huggingface_hub
(utils/_hf_uris.py), `hf://` and `ollama://` are those of RamaLama and of llama-run of llama.cpp
(tools/run). `lmstudio://` and `llama.cpp://` are named after their programs.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

SCHEMES = ("hf", "ollama", "lmstudio", "llama.cpp")
_NAME = re.compile(rf"({'|'.join(map(re.escape, SCHEMES))}):(?:/+(.*))?", re.DOTALL)


class ModelName(NamedTuple):
    """A name in one of the schemes."""

    scheme: str
    rest: str
    """What is behind `scheme://`."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"


def model_name(path: str | os.PathLike[str]) -> ModelName | None:
    """The name that a path is, if it begins with a scheme; None for a path.

    A path object has one slash of `hf://`, since two are the same as one in a path: both are
    understood. A file of such a name is found under `./hf:/...` of a string.

    >>> str(model_name("hf://org/repo/file.gguf"))
    'hf://org/repo/file.gguf'
    >>> model_name("model.gguf") is None
    True
    """
    match = _NAME.fullmatch(os.fspath(path))
    return None if match is None else ModelName(match[1], match[2] or "")


def shown_name(path: str | os.PathLike[str]) -> str:
    """A path, or a name with both slashes, as users write it."""
    return str(model_name(path) or path)
