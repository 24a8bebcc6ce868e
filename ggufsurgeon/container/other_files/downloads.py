"""What a download leaves where a model was expected: pages, pointers, answers of a server."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.quoting import quoted

CONVERT = "Convert its folder first, with convert_hf_to_gguf.py of llama.cpp."
LFS_SPEC = b"version https://git-lfs.github.com/spec/"
"""The first line of a pointer (git-lfs, docs/spec.md)."""
PAGE = re.compile(
    r"(<!--((?!-->).)*-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
"""A comment ends where it first can: else one text is read in endlessly many ways."""
TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
ANSWER_N_BYTES = 1000
"""Longest text that is taken for the answer of a server."""
JSON_N_BYTES = 1 << 20

ADDRESS = "the address of a file itself has /resolve/ where that of its page has /blob/"
LOGIN = "a model behind terms of use needs a login first (hf auth login)"
ASK_AGAIN = (
    "This looks like the answer of a server instead of the model: check the name of the file and "
    f"of the repository in the address. On Hugging Face {ADDRESS}, and {LOGIN}."
)


class OtherFormat(NamedTuple):
    """A format that is no GGUF: what a file of it is, for a message, and what to do."""

    what: str
    instead: str = ""


def recognise_text(data: Buffer) -> OtherFormat | None:
    """What a file of text is; None for a file that is not text."""
    text = _text(bytes(data[:ANSWER_N_BYTES]))
    if text is None:
        return None
    if bytes(data[: len(LFS_SPEC)]) == LFS_SPEC:
        return _pointer(text)
    if PAGE.match(text):
        return _page(text)
    if text.startswith("<"):
        return OtherFormat(f"XML that begins {_shown(text)}", ASK_AGAIN)
    if text.startswith(("{", "[")):
        return _json(bytes(data[:JSON_N_BYTES]))
    if len(data) > ANSWER_N_BYTES:
        return OtherFormat(f"text that begins {_shown(text)}")
    return OtherFormat(f"text: {_shown(text)}", ASK_AGAIN)


def _text(head: bytes) -> str | None:
    """The start of a text, without a byte order mark and space before it; None for other data."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character is cut in two
            return None
        text = head[: error.start].decode("utf-8-sig")
    text = text.lstrip()
    return text if text and all(c.isprintable() or c in "\r\n\t" for c in text) else None


def _shown(text: str) -> str:
    return quoted(" ".join(text.split()))


def _pointer(text: str) -> OtherFormat:
    size = re.search(r"^size (\d{1,19})$", text, re.MULTILINE | re.ASCII)
    named = f" to a file of {int(size[1]):,} bytes" if size else ""
    return OtherFormat(
        f"a Git LFS pointer{named}",
        "The model itself has not been fetched: run git lfs install and git lfs pull in the "
        "folder that was cloned.",
    )


def _page(text: str) -> OtherFormat:
    title = TITLE.search(text)
    named = f" titled {_shown(title[1])}" if title else ""
    return OtherFormat(
        f"a web page{named}",
        f"Download the file instead of the page about it: on Hugging Face {ADDRESS}, and {LOGIN}.",
    )


def _json(head: bytes) -> OtherFormat:
    try:
        content = json.loads(head.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        content = None
    keys = content.keys() if isinstance(content, dict) else set()
    if "error" in keys or "detail" in keys or "message" in keys:
        return OtherFormat(f"JSON with an error: {_shown(_error_of(content))}", ASK_AGAIN)
    if "layers" in keys and "schemaVersion" in keys:
        return OtherFormat("a manifest of Ollama", _blob_of(content))
    if "weight_map" in keys:
        return OtherFormat("an index of safetensors weights", CONVERT)
    if "architectures" in keys or "model_type" in keys:
        return OtherFormat("the configuration of a model (config.json)", CONVERT)
    return OtherFormat("JSON")


def _error_of(content: dict[str, Any]) -> str:
    return str(next(content[key] for key in ("error", "detail", "message") if key in content))


def _blob_of(manifest: dict[str, Any]) -> str:
    """Where the model is that a manifest names: its layer of type `….image.model`."""
    layers = manifest["layers"] if isinstance(manifest["layers"], list) else []
    for layer in layers:
        if isinstance(layer, dict) and str(layer.get("mediaType")).endswith(".image.model"):
            name = str(layer.get("digest")).replace(":", "-")
            return f"The model is the file blobs/{name} in the folder models of Ollama."
    return "The model is one of the files in the folder models/blobs of Ollama."
