"""Models of LM Studio: `lmstudio://PUBLISHER/MODEL/FILE`, or `lmstudio://PUBLISHER/MODEL`.

LM Studio keeps files as `PUBLISHER/MODEL/FILE.gguf` below its folder of models, which is `models/`
in its home (lmstudio.ai, docs: "Import Models"). Its home is `~/.lmstudio`, was
`~/.cache/lm-studio`, and is what the file `~/.lmstudio-home-pointer` says (lmstudio-js:
lms-common-server); the key `downloadsFolder` of `settings.json` there names another folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from ggufsurgeon.container.shards import parse_name
from ggufsurgeon.errors import UsageError
from ggufsurgeon.locating.model_name import ModelName
from ggufsurgeon.locating.stores.listing import gguf_files, not_there

MOST_OF_A_SETTING = 1 << 20
HOMES = (".lmstudio", ".cache/lm-studio")
PROJECTOR = "mmproj"
"""What the names of files have that hold the vision part of a model, beside it."""


def folders() -> list[Path]:
    """Where LM Studio may keep models, the likeliest first."""
    pointed = _text(Path.home() / ".lmstudio-home-pointer").strip()
    homes = [Path(pointed)] * bool(pointed) + [Path.home() / home for home in HOMES]
    chosen = [_downloads_folder(home) for home in homes]
    found = [*(folder for folder in chosen if folder), *(home / "models" for home in homes)]
    return list(dict.fromkeys(found))


def _downloads_folder(home: Path) -> Path | None:
    try:
        settings = json.loads(_text(home / "settings.json"))
    except (ValueError, RecursionError):
        return None
    folder = settings.get("downloadsFolder") if isinstance(settings, dict) else None
    return Path(folder) if isinstance(folder, str) and folder else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_OF_A_SETTING).decode("utf-8", "replace")
    except OSError:
        return ""


def find(name: ModelName) -> Path:
    """A file of LM Studio; the one of a model that has no other.

    Raises UsageError when there is none, or more than one.
    """
    if name.rest and "/" not in name.rest:
        raise UsageError(f"{name}: expected lmstudio://PUBLISHER/MODEL/FILE")
    files: dict[str, Path] = {}
    for folder in folders():
        for path in gguf_files(folder):
            files.setdefault(path.relative_to(folder).as_posix(), path)
    found = files.get(name.rest)
    if found is not None:
        return found
    names = [each for each in files if each.startswith(f"{name.rest}/") and _is_model(each)]
    if len(names) == 1:
        return files[names[0]]
    if names:
        raise not_there(name, "LM Studio has several files of this model", _shown(names), [])
    raise not_there(name, "LM Studio has no model of this name", _shown(files), folders())


def _shown(names: list[str] | dict[str, Path]) -> list[str]:
    return [f"lmstudio://{name}" for name in names]


def _is_model(name: str) -> bool:
    """Whether a file is a model, or the first shard of one."""
    file = name.rpartition("/")[2]
    named = parse_name(file)
    return PROJECTOR not in file and (named is None or named[1].number == 0)
