"""Models that llama.cpp has downloaded: `llama.cpp://ORG/REPO[:QUANT]`, as its `-hf` takes them.

`llama.cpp://ORG/REPO/FILE.gguf` names a file. They are in a cache of huggingface_hub, whose folder
`LLAMA_CACHE` names if it is set (llama.cpp: common/hf-cache.cpp). Older releases kept them as
`ORG_REPO_FILE.gguf` in `LLAMA_CACHE` or `~/.cache/llama.cpp` (common/common.cpp:
`fs_get_cache_directory`; common/arg.cpp: `common_params_handle_model`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ggufsurgeon.container.shards import parse_name
from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.model_name import ModelName
from ggufsurgeon.locating.stores.hub_cache import cached_ggufs, cached_repos, hub_cache
from ggufsurgeon.locating.stores.listing import not_there

NAME = re.compile(r"([^/:@]+/[^/:@]+)(?::([\w.-]+)|/(.+))?")
PREFERRED = ("Q4_K_M", "Q8_0")
"""Quantizations that are taken where none is named (common/download.cpp: `find_best_model`)."""
NO_MODELS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""What names of files have that are no models (common/download.cpp: `gguf_filename_is_model`)."""


def folders() -> list[Path]:
    """The caches: that in the layout of huggingface_hub first, then the older one."""
    if value := os.environ.get("LLAMA_CACHE"):
        return [Path(value)]
    if sys.platform == "darwin":
        return [hub_cache(), Path.home() / "Library" / "Caches" / "llama.cpp"]
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [hub_cache(), Path(base).expanduser() / "llama.cpp"]


def find(name: ModelName) -> Path:
    """The GGUF of a repository that llama.cpp would load, or the one that is named.

    Raises UsageError when there is none.
    """
    match = NAME.fullmatch(name.rest)
    if match is None:
        if name.rest:
            raise UsageError(f"{name}: expected llama.cpp://ORG/REPO[:QUANT], or .../FILE.gguf")
        raise not_there(name, "no model is named", _all_there(), folders())
    repo, quant, file = match.groups()
    files = _files(repo)
    chosen = file if file is not None else _choose(files, quant)
    found = files.get(chosen.replace("/", "_")) or files.get(chosen) if chosen else None
    if found is not None:
        return found
    of_repo = [f"llama.cpp://{repo}/{each}" for each in files]
    what = "has no such file of this repository" if of_repo else "has nothing of this repository"
    raise not_there(name, f"the cache of llama.cpp {what}", of_repo or _all_there(), folders())


def _files(repo: str) -> dict[str, Path]:
    """The GGUF files of a repository, by their paths in it; in the older cache `/` is `_`."""
    prefix = f"{repo.replace('/', '_')}_"
    found: dict[str, Path] = {}
    for cache in folders():
        for file, path in cached_ggufs(cache, repo).items():
            found.setdefault(file, path)
        for path in _flat_files(cache):
            if path.name.startswith(prefix):
                found.setdefault(path.name.removeprefix(prefix), path)
    return found


def _flat_files(cache: Path) -> Iterable[Path]:
    return sorted(path for path in cache.glob("*.gguf") if path.is_file())


def _all_there() -> list[str]:
    there = []
    for cache in folders():
        there += [f"llama.cpp://{repo}" for repo in cached_repos(cache)]
        there += [str(path) for path in _flat_files(cache)]
    return there


def _choose(files: Iterable[str], quant: str | None) -> str | None:
    """The file that llama.cpp takes of a repository."""
    models = [file for file in files if _is_model(file)]
    for wanted in PREFERRED if quant is None else (quant,):
        pattern = re.compile(rf"{re.escape(wanted)}[.-]", re.IGNORECASE)
        for file in models:
            if pattern.search(file):
                return file
    return models[0] if models and quant is None else None


def _is_model(file: str) -> bool:
    """Whether a file is a model, or the first shard of one."""
    name = file.rpartition("/")[2]
    named = parse_name(name)
    return not any(part in name for part in NO_MODELS) and (named is None or named[1].number == 0)
