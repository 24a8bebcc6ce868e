"""The cache of huggingface_hub, read without that package.

`models--ORG--REPO/refs/REVISION` holds a commit, and `snapshots/COMMIT/` the files of that commit,
as links to `blobs/` (huggingface_hub, docs/source/en/guides/manage-cache.md). llama.cpp keeps its
downloads there too (common/hf-cache.cpp).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from ggufsurgeon.locating.stores.listing import gguf_files

FOLDER = re.compile(r"models--([^/]+?)--([^/]+)")
COMMIT = re.compile(r"[0-9a-f]{40}")
MAIN = "main"
MOST_OF_A_REF = 100
"""Bytes of a file of `refs/` that are read: it holds a commit."""


def hub_cache() -> Path:
    """The folder of the cache (huggingface_hub/constants.py: `HF_HUB_CACHE`)."""
    for variable, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
    ):
        if value := os.environ.get(variable):
            return Path(os.path.expandvars(value)).expanduser() / below
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def repo_folder(cache: Path, repo: str) -> Path:
    """The folder of the repository `ORG/REPO`."""
    return cache / f"models--{repo.replace('/', '--')}"


def snapshot(folder: Path, revision: str = MAIN) -> Path | None:
    """The folder of a repository's files at a revision, or None if it is not there."""
    commit = revision if COMMIT.fullmatch(revision) else _ref(folder / "refs" / revision)
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None


def _ref(path: Path) -> str:
    try:
        with path.open("rb") as file:
            commit = file.read(MOST_OF_A_REF).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return commit if COMMIT.fullmatch(commit) else ""


def cached_file(cache: Path, repo: str, path: str, revision: str = MAIN) -> Path | None:
    """A file of a repository, or None if the cache does not have it at that revision."""
    found = snapshot(repo_folder(cache, repo), revision)
    return found / path if found is not None and (found / path).is_file() else None


def cached_ggufs(cache: Path, repo: str, revision: str = MAIN) -> dict[str, Path]:
    """The GGUF files of a repository in the cache, by their paths in it."""
    found = snapshot(repo_folder(cache, repo), revision)
    if found is None:
        return {}
    return {path.relative_to(found).as_posix(): path for path in gguf_files(found)}


def cached_repos(cache: Path) -> list[str]:
    """The repositories in the cache that have a GGUF at the revision `main`."""
    folders = sorted(cache.iterdir()) if cache.is_dir() else []
    names = (FOLDER.fullmatch(folder.name) for folder in folders)
    repos = (f"{name[1]}/{name[2]}" for name in names if name)
    return [repo for repo in repos if cached_ggufs(cache, repo)]


def incomplete_parts(cache: Path, repo: str) -> dict[Path, int]:
    """The sizes in bytes of files of a repository that are not downloaded in full.

    Releases of huggingface_hub before this changed (1.2, for one) keep `ETAG.incomplete` and resume
    from it; later ones (2.4, file_download.py:1997-2045) have a name for each process, and remove
    the file when the download ends early.
    """
    found = {}
    for path in (repo_folder(cache, repo) / "blobs").glob("*.incomplete"):
        with suppress(OSError):
            found[path] = path.stat().st_size
    return found
