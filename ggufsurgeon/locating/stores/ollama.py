"""Models of Ollama: `ollama://[HOST/][NAMESPACE/]MODEL[:TAG]`, as `ollama run` takes them.

A manifest `manifests/HOST/NAMESPACE/MODEL/TAG` is JSON that names the layers of a model by their
SHA-256; the layer of type `application/vnd.ollama.image.model` is a GGUF, and is the file
`blobs/sha256-...` (ollama: manifest/paths.go, types/model/name.go, whose defaults these are).
"""

from __future__ import annotations

import json
import os
import re
from itertools import islice
from pathlib import Path

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import MalformedFileError, UsageError
from ggufsurgeon.locating.model_name import ModelName
from ggufsurgeon.locating.stores.listing import MOST_LOOKED_AT, not_there

HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
MODEL_LAYER = "application/vnd.ollama.image.model"
DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MOST_OF_A_MANIFEST = 1 << 20
OF_THE_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where the service that Linux packages install keeps models (ollama: docs/faq)."""


def folders() -> list[Path]:
    """Where Ollama keeps models: `OLLAMA_MODELS` (envconfig/config.go), or its two defaults."""
    if value := os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'"):
        return [Path(value)]
    return [Path.home() / ".ollama" / "models", OF_THE_SERVICE]


def find(name: ModelName) -> Path:
    """The GGUF of a model.

    Raises UsageError when there is none, MalformedFileError for a manifest that is none.
    """
    asked = _full_name(name)
    manifests: dict[str, Path] = {}
    for folder in folders():
        for manifest in _manifests(folder):
            manifests.setdefault(manifest.relative_to(folder / "manifests").as_posix(), manifest)
    by_name = {full.lower(): manifest for full, manifest in manifests.items()}
    found = manifests.get(asked) or by_name.get(asked.lower())
    if found is None:
        there = map(_short_name, manifests)
        raise not_there(name, "Ollama has no model of this name", there, folders())
    return _blob(name, found)


def _full_name(name: ModelName) -> str:
    """The path of a manifest: host, namespace, model and tag."""
    *before, last = name.rest.split("/")
    model, _, tag = last.partition(":")
    parts = [*(HOST, NAMESPACE)[: max(2 - len(before), 0)], *before, model, tag or TAG]
    if len(parts) != 4 or not all(map(PART.fullmatch, parts)):
        if not name.rest:
            return ""
        raise UsageError(f"{name}: expected ollama://[HOST/][NAMESPACE/]MODEL[:TAG]")
    return "/".join(parts)


def _short_name(full: str) -> str:
    """The name without what Ollama fills in by itself."""
    host, namespace, model, tag = full.split("/")
    parts = [host, namespace, model]
    while len(parts) > 1 and parts[0] == (HOST if len(parts) == 3 else NAMESPACE):
        parts.pop(0)
    return f"ollama://{'/'.join(parts)}:{tag}"


def _manifests(folder: Path) -> list[Path]:
    found = (path for path in (folder / "manifests").glob("*/*/*/*") if path.is_file())
    return sorted(islice(found, MOST_LOOKED_AT))


def _blob(name: ModelName, manifest: Path) -> Path:
    """The file that the layer with the model is."""
    layers = _layers(manifest)
    digests = [layer.get("digest") for layer in layers if layer.get("mediaType") == MODEL_LAYER]
    if len(digests) != 1:
        kinds = ", ".join(sorted({quoted(str(layer.get("mediaType"))) for layer in layers}))
        raise UsageError(
            f"{name}: expected one GGUF in this model of Ollama, found {len(digests)}",
            hint=f"Its layers are of the types {kinds or 'none'}; its manifest is {manifest}.",
        )
    digest = str(digests[0])
    if not DIGEST.fullmatch(digest):
        raise MalformedFileError(str(manifest), f"the digest of its model is {quoted(digest)}")
    blob = manifest.parents[4] / "blobs" / digest.replace(":", "-")
    if not blob.is_file():
        raise UsageError(
            f"{name}: its file {blob} is missing",
            hint=f"Download it again: ollama pull {name.rest}",
        )
    return blob


def _layers(manifest: Path) -> list[dict[str, object]]:
    try:
        with manifest.open("rb") as file:
            content = json.loads(file.read(MOST_OF_A_MANIFEST))
    except OSError as error:
        raise UsageError(f"{manifest}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise MalformedFileError(str(manifest), "expected a manifest of Ollama, in JSON") from None
    layers = content.get("layers") if isinstance(content, dict) else None
    if not isinstance(layers, list):
        raise MalformedFileError(str(manifest), "expected a manifest of Ollama, with its layers")
    return [layer for layer in layers if isinstance(layer, dict)]
