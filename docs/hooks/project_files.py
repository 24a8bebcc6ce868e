"""Files of the project's root folder as pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def project_file(name: str) -> str:
    """The file without its title (the page has its own), with links that hold inside docs/."""
    text = (ROOT / name).read_text("utf-8")
    _, _, body = text.partition("\n")
    return re.sub(r"\]\(docs/", "](", body).strip()
