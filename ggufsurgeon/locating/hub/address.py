"""Names of files on the Hugging Face Hub: `hf://ORG/REPO[@REVISION]/PATH`.

The grammar is that of huggingface_hub (utils/_hf_uris.py): revisions of the form `refs/pr/N` have
slashes, others have them as `%2F`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PosixPath
from urllib.parse import unquote

from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.model_name import ModelName, shown_name
from ggufsurgeon.locating.stores.hub_cache import MAIN

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ADDRESS = re.compile(
    rf"(?:models/(?={_PART}/))?({_PART}/{_PART})(?:@(refs/pr/\d+|refs/convert/[\w.-]+|[^/@]+))?(?:/(.*))?"
)
OTHER_TYPES = ("datasets", "spaces", "kernels", "buckets")
EXPECTED = "expected hf://ORG/REPO/FILE.gguf, or hf://ORG/REPO@REVISION/FILE.gguf"


class HubPath(PosixPath):
    """The place of a file on the hub as a path, whose text is its name.

    `with_name` gives other files of its folder, such as the other shards of a model. There is no
    such file on disk.
    """

    def __str__(self) -> str:
        return shown_name(super().__str__())


@dataclass(frozen=True)
class HubAddress:
    """A file of a repository, at a revision; `path` is empty for the repository itself."""

    repo: str
    path: str
    revision: str = MAIN

    def __str__(self) -> str:
        revision = self.revision
        if not revision.startswith("refs/"):
            revision = revision.replace("/", "%2F")
        at = "" if revision == MAIN else f"@{revision}"
        return f"hf://{self.repo}{at}" + (f"/{self.path}" if self.path else "")


def hub_address(name: ModelName | HubPath) -> HubAddress:
    """The address that a name is. Raises UsageError for a name that is none."""
    rest = str(name).removeprefix("hf://")
    match = _ADDRESS.fullmatch(rest)
    if match is None or rest.partition("/")[0] in OTHER_TYPES:
        raise UsageError(f"{name}: {EXPECTED}")
    repo, revision, path = match.groups()
    revision = unquote(revision) if revision else MAIN
    parts = (path or "").split("/")
    if ".." in repo or _leaves(revision) or any(map(_leaves, parts)) or (path and "" in parts):
        raise UsageError(f"{name}: {EXPECTED}")
    return HubAddress(repo, path or "", revision)


def _leaves(part: str) -> bool:
    """Whether a part of a path leads out of its folder."""
    return part in (".", "..") or ".." in part.split("/") or part.startswith("/") or "\0" in part
