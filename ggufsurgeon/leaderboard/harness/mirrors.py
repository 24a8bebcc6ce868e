"""Folders that hold the datasets of the benchmarks, and the copies that `datasets` makes."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path


def cache_of_mirror(folder: Path) -> Path:
    """Where `datasets` is to keep its copy of a folder: another place for other content.

    By itself `datasets` 5.2 tells folders apart by their name and README alone
    (datasets/load.py, LocalDatasetModuleFactory.get_module): documents of a folder of the same
    layout, or those from before a change, would be taken for them without a warning.
    """
    from datasets import config

    return Path(config.HF_DATASETS_CACHE) / "ggufsurgeon" / _content_sha256(folder)[:32]


def _content_sha256(folder: Path) -> str:
    digest = sha256()
    for file in sorted(_files(folder)):
        name = file.relative_to(folder).as_posix().encode()
        digest.update(sha256(name).digest() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and those in it, without hidden ones, such as those of git."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path
