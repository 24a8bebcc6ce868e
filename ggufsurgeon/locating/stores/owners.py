"""Which program a file belongs to, by the folder that it is in."""

from __future__ import annotations

import os
from pathlib import Path

from ggufsurgeon.locating.stores import llama_cpp, lm_studio, ollama
from ggufsurgeon.locating.stores.hub_cache import hub_cache


def owner_of(path: Path) -> str:
    """The program among whose models a file is, with links followed; empty for none."""
    folders = {
        "huggingface_hub": [hub_cache()],
        "llama.cpp": llama_cpp.folders(),
        "LM Studio": lm_studio.folders(),
        "Ollama": ollama.folders(),
    }
    place = Path(os.path.realpath(path))
    for owner, of_owner in folders.items():
        if any(place.is_relative_to(os.path.realpath(folder)) for folder in of_owner):
            return owner
    return ""
