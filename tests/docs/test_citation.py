"""The citation names the version that is released."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_the_citation_has_the_version_and_the_licence_of_the_package() -> None:
    package = (ROOT / "pyproject.toml").read_text("utf-8")
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    for key in ("version", "license"):
        wanted = re.search(rf'^{key} = "(.+)"$', package, re.MULTILINE)
        found = re.search(rf"^{key}: (.+)$", citation, re.MULTILINE)
        assert wanted and found and found[1] == wanted[1]
