"""The metadata of a model card of the Hugging Face hub, from the metadata of a GGUF.

The fields are those of `huggingface_hub.ModelCardData`; the keys of the GGUF are those of
gguf/constants.py (`Keys.General`) of the Python package gguf 0.19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels
from ggufsurgeon.publishing.plain_text import Scalar

REPOSITORY = re.compile(r"[0-9A-Za-z][\w.-]{0,95}/[0-9A-Za-z][\w.-]{0,95}", re.ASCII)
"""The id of a model on the hub, such as `Qwen/Qwen2-72B`."""
HUB_URL = re.compile(rf"https://(?:huggingface\.co|hf\.co)/({REPOSITORY.pattern})/?", re.ASCII)
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,39}", re.ASCII)
"""The form of the hub's identifiers of licences, which are SPDX's in lower case."""
LINK = re.compile(r"https://[\w.~/%+-]+", re.ASCII)
LANGUAGE = re.compile(r"[a-z]{2,3}")
"""ISO 639 codes, as `general.languages` and the hub have them."""
WHOLE_MODEL = ("general.source.repo_url", "general.repo_url")
"""Keys with the repository of the model itself, not of one that it was trained from."""


def hub_metadata(
    header: Header, base_models: Sequence[str], models: RecordedModels | None = None
) -> dict[str, Scalar]:
    """The fields of the card of a patched file with this header, in their order.

    `base_models` are ids of the hub; without any, the header's own repository is taken if it has
    one. `models` are those that the blocks are of, if they are several: the header has the licence
    and the repository of the first of them. A field that is not known is left out.
    """
    bases = tuple(base_models) or (() if models else recorded_repositories(header))
    row = ARCHITECTURES.get(header.architecture or "")
    is_encoder = row is not None and row.is_encoder
    found: dict[str, Scalar] = {"library_name": "gguf"}
    found |= {"pipeline_tag": "feature-extraction" if is_encoder else "text-generation"}
    found |= {"base_model": bases, "base_model_relation": "merge"} if bases else {}
    found |= {} if models and models.licenses else dict(_license(header))
    languages = [code for code in _strings(header, "general.languages") if LANGUAGE.fullmatch(code)]
    found |= {"language": languages} if languages else {}
    return {**found, "tags": ["gguf", "merge", "ggufsurgeon"]}


def is_repository(text: str) -> bool:
    """Whether the text is the id of a model on the hub, `ORGANIZATION/NAME`."""
    return REPOSITORY.fullmatch(text) is not None and not re.search(r"--|\.\.|[.-](?:/|$)", text)


def recorded_repositories(header: Header) -> tuple[str, ...]:
    """The repository on the hub of the model that the file was converted from, if it has one."""
    for key in WHOLE_MODEL:
        url = header.get(key)
        found = HUB_URL.fullmatch(url) if isinstance(url, str) else None
        if found and is_repository(found[1]):
            return (found[1],)
    return ()


def _license(header: Header) -> Iterator[tuple[str, Scalar]]:
    """The licence: an identifier, or `other` with the name that the file gives."""
    text = header.get("general.license")
    name, link = header.get("general.license.name"), header.get("general.license.link")
    if isinstance(text, str) and LICENSE.fullmatch(text.lower()):
        yield "license", text.lower()
        told = name
    else:
        told = name if isinstance(name, str) else text
        if not isinstance(told, str) or not told.strip():
            return
        yield "license", "other"
    if isinstance(told, str) and told.strip():
        yield "license_name", told
    if isinstance(link, str) and LINK.fullmatch(link):
        yield "license_link", link


def _strings(header: Header, key: str) -> list[str]:
    value = header.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
