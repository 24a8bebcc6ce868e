"""The text of recipes in YAML that rebuild a file: read as it was meant, or an error."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.rebuilding.recipes import (
    FileIdentity,
    FurtherModel,
    Patch,
    Recipe,
    ShardIdentity,
)
from ggufsurgeon.publishing.rebuilding_yaml import recipe_of_yaml, recipe_yaml
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from tests.planning.test_recipes import digests, names, sizes, tools

shards = st.lists(st.builds(ShardIdentity, sizes, digests), min_size=2, max_size=3).map(tuple)
steps = st.builds(BlockRef, st.just(0), st.integers(0, 99), st.just(1.0) | st.floats(1e-3, 1e3))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Of several models, or with other MTP blocks, and of patches behind that."""
    numbers = sorted(draw(st.sets(st.integers(1, 20), max_size=3)))
    further = [FurtherModel(f"m{n}", n, draw(digests), draw(sizes)) for n in numbers]
    mtp, outside = None, None
    indices = [0, *numbers]
    if numbers:
        outside = OutsideBlocks(*(draw(st.sampled_from(indices)) for _ in range(3)))
    else:
        mtp = draw(st.just(NO_MTP) | digests)
        further += [FurtherModel("donor", None, mtp)] * (mtp != NO_MTP)
    path = [replace(draw(steps), source=n) for n in (*indices, *draw(st.permutations(indices)))]
    cuts = st.lists(st.integers(0, 999), min_size=2, max_size=4).map(tuple) | st.just(())
    first = Patch(
        LayerPath(path), draw(tools), False, draw(st.none() | names), (), outside, mtp, True
    )
    more = [
        Patch(
            LayerPath([draw(steps)]),
            draw(tools),
            draw(st.booleans()),
            draw(st.none() | names),
            draw(cuts),
            is_trunk=True,
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    results = tuple(ShardIdentity(draw(sizes), draw(digests)) for _ in (first, *more)[-1].n_tensors)
    sha256 = None if results else draw(digests)
    source = FileIdentity(draw(sizes), draw(digests), draw(st.none() | digests))
    if draw(st.booleans()):
        source = replace(source, sha256=None, shards=draw(shards))
    return Recipe(
        (first, *more),
        source,
        FileIdentity(draw(sizes), draw(digests), sha256, results),
        tuple(further),
        draw(st.sampled_from(["model-0", "org/base.v1"])),
    )


def parsed(text: str) -> Recipe:
    found = read_yaml_recipe(text.encode(), "r.yml")
    assert found.made_file is not None
    return recipe_of_yaml(found, found.made_file)


@given(recipes())
def test_the_text_of_a_recipe_is_read_as_it_was_meant(recipe: Recipe) -> None:
    text = recipe_yaml(recipe)
    assert parsed(text) == recipe
    allowed = set(string.ascii_letters + string.digits + ' \n:.,*+-_/"')
    assert set(text) <= allowed


DIGEST = "a" * 64
TEXT = f"""\
sources:
  one:
    n_bytes: 100
    header_sha256: {DIGEST}
  two:
    n_bytes: 200
    header_sha256: {DIGEST}
layers: one:0..2, two:1..3
made: by ggufsurgeon 1.0.0
then:
- 0..3,2..5 by ggufsurgeon 1.0.0
result:
  n_bytes: 300
  header_sha256: {DIGEST}
  sha256: {DIGEST}
"""
BAD = {
    "no size": ("    n_bytes: 100\n", "", "the source one lacks n_bytes, which result requires"),
    "no header": (
        f"    n_bytes: 200\n    header_sha256: {DIGEST}\n",
        "",
        "two lacks header_sha256",
    ),
    "numbers": ("n_bytes: 200", "number: 0", "the numbers of the sources are 0, 0: expected"),
    "first number": (
        "n_bytes: 100",
        "n_bytes: 100\n    number: 1",
        "numbers of the sources are 1, 1",
    ),
    "made": (
        "made: by gguf",
        "made: by rm",
        "made: expected a value such as: by ggufsurgeon 1.0.0",
    ),
    "named": (
        "made: by ggufsurgeon 1.0.0",
        "made: by ggufsurgeon 1.0.0, named X",
        "belongs in the key name",
    ),
    "not made": ("made: by ggufsurgeon 1.0.0\n", "", "expected made beside result"),
    "then": ("- 0..3,2", "- 3..0,2", "then[0]: layers '3..0,2..5'"),
    "later": ("- 0..3,2", "- 1:0..3,2", "then[0]: '1:0..3,2..5 by"),
    "many": ("- 0..3", "- 0 by ggufsurgeon 1\n" * 31 + "- 0..3", "no more than 32 patches"),
    "sha256": (f"  sha256: {DIGEST}\n", "", "result: expected one of sha256 and shards"),
    "shards": (f"  sha256: {DIGEST}\n", "  shards: [1, 2]\n", "shards[0]: expected the SHA-256 of"),
    "no shard": (f"  sha256: {DIGEST}\n", "  shards: [-1]\n", "expected the size of a shard"),
    "cut": (f"  sha256: {DIGEST}\n", f"  shards: ['1 {DIGEST}']\n", "1 shards, and the last patch"),
    "mtp": ("made:", "mtp: none\nmade:", "MTP blocks are those of the model of the output"),
    "size of the result": ("  n_bytes: 300\n", "", "result: expected n_bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_recipe_is_told(case: str) -> None:
    old, new, says = BAD[case]
    assert parsed(TEXT).source_name == "one" and TEXT.count(old) == 1
    with pytest.raises(UsageError) as raised:
        parsed(TEXT.replace(old, new))
    assert str(raised.value).startswith("r.yml") and says in str(raised.value)


@given(recipes(), st.text(max_size=20), st.randoms(use_true_random=False))
def test_any_other_text_is_an_error_or_a_recipe(
    recipe: Recipe, junk: str, rng: random.Random
) -> None:
    text = recipe_yaml(recipe)
    at, end = sorted(rng.randrange(len(text)) for _ in range(2))
    for broken in (text[:at] + junk + text[at:], text[:at] + junk + text[end:]):
        try:
            found = read_yaml_recipe(broken.encode("utf-8", "replace"), "name")
            if found.made_file is not None:
                again = recipe_of_yaml(found, found.made_file)
                assert parsed(recipe_yaml(again)) == again
        except (UsageError, RefusedError) as error:
            assert str(error).startswith("name") and str(error).isprintable()
