"""Names of models that are no paths: a scheme, and what the model is called there.

The schemes are those of other programs where they have one: `hf://` is that of huggingface_hub
(utils/_hf_uris.py), `hf://` and `ollama://` are those of RamaLama and of llama-run of llama.cpp
(tools/run). `lmstudio://` and `llama.cpp://` are named after their programs.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import UsageError

SCHEMES = ("hf", "ollama", "lmstudio", "llama.cpp")
_NAME = re.compile(rf"({'|'.join(map(re.escape, SCHEMES))}):(?:/+(.*))?", re.DOTALL)
_LIKE_A_NAME = re.compile(rf"(?:https?|{'|'.join(map(re.escape, SCHEMES))}):.", re.IGNORECASE)
_PAGE_OF_A_FILE = re.compile(
    r"https?:/+(?:huggingface\.co|hf\.co)/([^/]+/[^/]+)/(?:blob|resolve|raw)/([^/]+)/([^?#]+)"
)


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


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise UsageError for a path without a file that was meant as a name, such as a URL."""
    text = os.fspath(path)
    if _LIKE_A_NAME.match(text) is None or os.path.lexists(text):
        return
    page = _PAGE_OF_A_FILE.match(text)
    if page is not None:
        repo, revision, file = page.groups()
        at = "" if revision == "main" else f"@{revision}"
        hint = f"Its name is hf://{repo}{at}/{file}"
    else:
        hint = f"Names of models begin with {', '.join(f'{each}://' for each in SCHEMES)}."
    shown = printable(re.sub(":/+", "://", text, count=1))
    raise UsageError(f"{shown} is no file, and no name of a model", hint=hint)
