"""Refusal of files that others refer to by their content, or by another name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ggufsurgeon.container.interrupted_edits import check_not_interrupted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.locating.stores.owners import owner_of
from ggufsurgeon.writing.placement.preflight import why_not_writable

HUB_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Files of a Hugging Face cache are named by their SHA-1 or SHA-256 (huggingface_hub, blobs/)."""
OLLAMA_BLOB = re.compile(r"sha256[-:][0-9a-f]{64}")
NEW_FILE = "Patch to a new file."


def check_model(path: Path, *, is_interrupted: bool = False) -> None:
    """Raise RefusedError unless a file may be changed where it is, OSError when it is not there.

    `is_interrupted` expects a journal beside it.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise _refused_link(path)
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{path} is not a regular file")
    _check_name(path)
    _check_store(path)
    if status.st_nlink > 1:
        n_others = status.st_nlink - 1
        others = (
            "another name (a hard link)"
            if n_others == 1
            else f"{n_others} other names (hard links)"
        )
        raise RefusedError(
            f"{path} has {others}, under which it would change too",
            hint=NEW_FILE,
        )
    if not status.st_mode & 0o222:
        mode = stat.filemode(status.st_mode)
        raise RefusedError(
            f"{path} is read-only ({mode})", hint=f"{NEW_FILE} Or make it writable: chmod u+w."
        )
    folder = Path(os.path.realpath(path)).parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RefusedError(
            f"{path}: {why_not_writable(folder)}, where the journal is written",
            hint=NEW_FILE,
        )
    if not is_interrupted:
        check_not_interrupted(path)


def _refused_link(path: Path) -> RefusedError:
    target = Path(os.path.realpath(path))
    if _kind_of_blob(target.name):
        return _refused_blob(path, target)
    return RefusedError(
        f"{path} is a symbolic link to {target}, which may be in use under that name",
        hint=f"Name that file itself if it may be changed. {NEW_FILE}",
    )


def _check_name(path: Path) -> None:
    if _kind_of_blob(path.name):
        raise _refused_blob(path, path)


def _check_store(path: Path) -> None:
    """Raise RefusedError for a file that another program has downloaded, and looks after."""
    owner = owner_of(path)
    if owner:
        raise RefusedError(
            f"{path} is among the models of {owner}, which expects it as it was downloaded",
            hint=NEW_FILE,
        )


def _kind_of_blob(name: str) -> str:
    if OLLAMA_BLOB.fullmatch(name):
        return "Ollama's store of models"
    return "a cache of the Hugging Face hub" if HUB_BLOB.fullmatch(name) else ""


def _refused_blob(path: Path, target: Path) -> RefusedError:
    link = f", a link to {target}," if path != target else ""
    return RefusedError(
        f"{path}{link} is in {_kind_of_blob(target.name)}, where files are named by the hash of "
        "their content: an edit would corrupt it there",
        hint=NEW_FILE,
    )
