"""Strings of a file stay text, in Markdown and in YAML."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ggufsurgeon.publishing.plain_text import LONGEST, markdown_text, one_line, yaml_mapping
from tests.models.hostile import CODES, EVIL

MARKUP = ("|", "`", "```", "\n---\n", "\n# x\n", "](http://x)", "![", "<b>", "&lt;", "*", "_", "\\")
ANY = st.lists(st.sampled_from((*CODES, *MARKUP)) | st.text(max_size=9), max_size=6).map("".join)


def rendered(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


@given(ANY)
def test_markdown_shows_the_string_and_nothing_else(text: str) -> None:
    shown = html.escape(one_line(text), quote=False).replace('"', "&quot;")
    assert rendered(f"# x{markdown_text(text)}x\n") == f"<h1>x{shown}x</h1>\n"
    table = rendered(f"| a |\n|---|\n| x{markdown_text(text)}x |\n")
    assert f"<td>x{shown}x</td>" in table and table.count("<t") == rendered(
        "| a |\n|---|\n| x |\n"
    ).count("<t")


def test_no_string_is_a_bare_link() -> None:
    for link in ("www.example.com", "https://example.com", "WWW.example.com", "a@example.com"):
        assert not re.search(r"(?i)www\.|://|[^\\]@", markdown_text(link))


@given(ANY, st.lists(ANY, max_size=3))
def test_yaml_reads_back_the_strings(one: str, several: list[str]) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    text = yaml_mapping({"one": one, "several": [*several, "last"]})
    wanted = {"one": one_line(one), "several": [*map(one_line, several), "last"]}
    assert yaml.safe_load(f"---\n{text}\n") == wanted


def test_what_is_long_is_cut() -> None:
    assert len(one_line(EVIL * 1000)) < 10 * LONGEST
