"""The documentation is whole: links, sizes, the map of the code, generated parts, and the site."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ggufsurgeon as gs
from docs import draw_layer_path
from docs.hooks.architectures import architecture_table, counts_line, refused_table
from docs.hooks.commands import command_reference
from docs.hooks.pages import GENERATORS, MARKER, fill_in
from ggufsurgeon.architectures.table import ARCHITECTURES
from tests.conftest import ROOT
from tests.docs.pages import PAGES, anchors, prose

WRITING = "tests/writing/"
LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
COMMANDS = (
    "inspect",
    "plan",
    "patch",
    "verify",
    "restore",
    "recover",
    "recipe",
    "diff",
    "patch-companion",
    "card",
    "selftest",
    "perplexity",
    "generate",
    "chat",
    "serve",
    "choose",
    "leaderboard",
    "scan",
    "search",
    "report",
    "anatomy",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", ["safety.md", "in-place.md"])
def test_promises_name_tests_that_exist(page: str) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", _text(f"docs/{page}")))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    allowed = {name.removeprefix(folder) for name in there for folder in ("", "tests/", WRITING)}
    assert len(named) > 5
    assert named <= allowed


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10_000


def test_the_map_of_the_code_is_in_the_order_of_the_import_contract() -> None:
    contract = re.search(
        r"^layers = \[\n(.*?)^\]", _text("pyproject.toml"), re.MULTILINE | re.DOTALL
    )
    assert contract
    rooms = re.findall(r"\w+", contract[1].replace("__main__", ""))
    listed, _, _ = prose(ROOT / "CONTRIBUTING.md").partition("| where else")
    cells = re.findall(r"^\| (`.+?`) \|", listed, re.MULTILINE)
    assert re.findall(r"`(\w+)(?:/|\.py)`", " ".join(cells)) == rooms


def test_every_architecture_is_in_the_table_with_its_rules() -> None:
    rows = architecture_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == sorted(ARCHITECTURES)
    assert "| `gemma3n` | patched | " in "\n".join(rows)
    assert "| `bert` | patched (encoder) | only the general arrays |" in rows
    refused = refused_table().splitlines()[2:]
    assert f"and {len(refused)} are refused" in counts_line()
    assert all(row.count("|") == 3 and len(row.split("|")[2]) > 10 for row in refused)


def test_the_reference_has_every_command_and_option() -> None:
    reference = command_reference()
    assert re.findall(r"^## ([\w-]+)$", reference, re.MULTILINE) == list(COMMANDS)
    for option in ("--window I:J", "--layers", "--tasks", "--store", "--temperature"):
        assert f"`{option}" in reference or f" {option}" in reference


def test_markers_name_generators() -> None:
    used = {name for page in PAGES for name in MARKER.findall(page.read_text("utf-8"))}
    assert used == set(GENERATORS)
    with pytest.raises(KeyError):
        fill_in("<!-- generated: nothing -->")


def test_the_picture_is_what_its_script_draws() -> None:
    assert (ROOT / "docs/layer_path.svg").read_text("utf-8") == draw_layer_path.picture()


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    for module in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "python.html").read_text("utf-8")
    for kind in (gs.LoadedModel, gs.ModelFile):  # their methods are those of several classes
        for name in filter(lambda name: not name.startswith("_"), dir(kind)):
            assert f'id="ggufsurgeon.{kind.__name__}.{name}"' in reference
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)\b[^>]*\b(?:src|href)="(https?:[^"]+)"', page.read_text("utf-8")
        )
        assert not loaded, f"{page.name} loads {loaded}"
