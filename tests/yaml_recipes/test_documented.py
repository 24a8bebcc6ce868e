"""The recipes that the documentation shows are those of the fixtures, and are read."""

from __future__ import annotations

from ggufsurgeon.yaml_recipes.mergekit import KEYS, MIXING_PARAMETERS, REFUSED_KEYS
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from tests.conftest import ROOT

PAGE = (ROOT / "docs/recipes.md").read_text("utf-8")


def test_recipes_of_the_page_are_files_that_are_read() -> None:
    for path in sorted((ROOT / "fixtures/recipes").iterdir()):
        data = path.read_bytes()
        assert f"```yaml\n{data.decode()}```" in PAGE
        assert len(read_yaml_recipe(data, path.name).slices) >= 2


def test_the_table_has_every_key_of_mergekit() -> None:
    for key in (*KEYS, *REFUSED_KEYS, *MIXING_PARAMETERS[:5]):
        assert f"`{key}" in PAGE, key
