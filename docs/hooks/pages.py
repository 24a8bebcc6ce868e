"""MkDocs hook: fills in the parts of pages that are generated from the package and the project.

A line `<!-- generated: NAME -->` in a page becomes what `GENERATORS[NAME]` returns, in Markdown. An
unknown name stops the build.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs puts only this folder there

from docs.hooks.architectures import architecture_table, counts_line, refused_table, rule_list  # noqa: E402
from docs.hooks.commands import command_reference  # noqa: E402
from docs.hooks.project_files import project_file  # noqa: E402

GENERATORS: Mapping[str, Callable[[], str]] = {
    "architectures": architecture_table,
    "counts of architectures": counts_line,
    "refused architectures": refused_table,
    "rules": rule_list,
    "commands": command_reference,
    "CONTRIBUTING.md": lambda: project_file("CONTRIBUTING.md"),
    "CHANGELOG.md": lambda: project_file("CHANGELOG.md"),
}
MARKER = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)


def fill_in(markdown: str) -> str:
    """The page with every marker replaced. Raises KeyError for an unknown name."""
    return MARKER.sub(lambda match: GENERATORS[match[1]](), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page before it is rendered."""
    return fill_in(markdown)
