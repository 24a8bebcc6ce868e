"""Folders that hold the datasets of the benchmarks, and the copies that `datasets` makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from ggufsurgeon.errors import UsageError

_POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for one that Git LFS has not fetched (git-lfs, docs/spec.md)."""


def cache_of_mirror(folder: Path) -> Path:
    """Where `datasets` is to keep its copy of a folder: another place for other content.

    Raises UsageError for files that Git LFS has not fetched, OSError where one cannot be read.

    By itself `datasets` 5.2 tells folders apart by their name and README alone
    (datasets/load.py, LocalDatasetModuleFactory.get_module): documents of a folder of the same
    layout, or those from before a change, would be taken for them without a warning.
    """
    from datasets import config

    return Path(config.HF_DATASETS_CACHE) / "ggufsurgeon" / _content_sha256(folder)[:32]


def _content_sha256(folder: Path) -> str:
    digest = sha256()
    for file in sorted(_files(folder)):
        name, content = file.relative_to(folder).as_posix(), file.read_bytes()
        if content.startswith(_POINTER):
            raise UsageError(
                f"{file}: a pointer of Git LFS, without the documents that it stands for",
                hint=f"Fetch them: git -C {folder} lfs pull.",
            )
        digest.update(sha256(os.fsencode(name)).digest() + sha256(content).digest())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The regular files in a folder and those in it, without hidden ones, such as those of git.

    Others are left out: `datasets` does not read them, and a pipe would be waited for forever.
    """
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
