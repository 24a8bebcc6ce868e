"""What models say of their licences and origins, where their blocks are mixed in one file.

The file has the `general.*` keys of model 0 (gguf/constants.py, `Keys.General`, of the Python
package gguf 0.19), which would be read as statements about the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.quoting import quoted

LICENSE, LICENSE_NAME = "general.license", "general.license.name"
ORIGINS = ("general.author", "general.organization", "general.url", "general.doi", "general.uuid")
ORIGIN_PREFIXES = ("general.repo_url", "general.source.", "general.base_model.")
MOST_LISTED = 4


def license_of(header: Header) -> str:
    """The licence that a model names, with its name where it has one; empty where it has none."""
    parts = [header.get(key) for key in (LICENSE, LICENSE_NAME)]
    found = [part.strip() for part in parts if isinstance(part, str) and part.strip()]
    return f"{found[0]} ({found[1]})" if len(found) > 1 else "".join(found)


def differing_licenses(files: Sequence[GgufFile]) -> tuple[str, ...]:
    """The licence of each model, empty where it names none; nothing where all name the same."""
    found = tuple(license_of(file.header) for file in files)
    return found if len(set(found)) > 1 else ()


def description_notes(files: Sequence[GgufFile]) -> Iterator[str]:
    """Notes on what the metadata of model 0 say that is not so for the blocks of others."""
    licenses = differing_licenses(files)
    if licenses:
        named = zip(files, licenses, strict=True)
        told = ", ".join(
            f"{quoted(license) if license else 'none'} of {file.path}" for file, license in named
        )
        yield (
            f"the models name different licences: {told}; all of them apply to the new file, "
            f"whose metadata name only that of {files[0].path}"
        )
    first = files[0].header
    for file in files[1:]:
        keys = [
            pair.key
            for pair in first.pairs
            if _is_of_origin(pair.key) and file.header.get(pair.key) != pair.value
        ]
        if keys:
            more = f" and {len(keys) - MOST_LISTED} more" if len(keys) > MOST_LISTED else ""
            yield (
                f"the new file has the origin of {files[0].path} in its metadata, which is not "
                f"that of {file.path}: {', '.join(map(_shown, keys[:MOST_LISTED]))}{more}"
            )


def _is_of_origin(key: str) -> bool:
    return key in ORIGINS or key.startswith(ORIGIN_PREFIXES)


def _shown(key: str) -> str:
    return quoted(key)[1:-1]
