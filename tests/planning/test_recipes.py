"""Recipes: their text, and plans from them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggufsurgeon.errors import GgufSurgeonError, RefusedError, UsageError
from ggufsurgeon.layer_path.model_names import MODEL_NAME
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.rebuilding.ingredients import find_ingredients
from ggufsurgeon.planning.rebuilding.recipe_text import FORMS, parse_recipe, recipe_text
from ggufsurgeon.planning.rebuilding.recipes import (
    FileIdentity,
    Patch,
    Recipe,
    ShardIdentity,
    plan_recipe,
)
from tests.models.builders import llama_model
from tests.models.in_memory import opened, run, with_odd_padding
from tests.planning.drawing import N_BLOCKS, models

unhurried = settings(deadline=None)

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
sizes = st.integers(0, 10**18 - 1)
steps = st.builds(BlockRef, st.just(0), st.integers(0, 99), st.just(1.0) | st.floats(1e-9, 1e9))
layers = st.lists(steps, min_size=1, max_size=9).map(LayerPath)
tools = st.from_regex(r"ggufsurgeon [0-9]\.[0-9]\.[0-9](\.dev1|rc1\+x)?", fullmatch=True)
cuts = st.lists(st.integers(0, 999), min_size=2, max_size=4).map(tuple) | st.just(())
names = st.from_regex(MODEL_NAME, fullmatch=True).filter(lambda name: name == name.strip())
patches = st.builds(Patch, layers, tools, st.booleans(), st.none() | names, cuts)
shards = st.lists(st.builds(ShardIdentity, sizes, digests | st.none()), max_size=4).map(tuple)


@st.composite
def recipes_of(draw: st.DrawFn) -> Recipe:
    """Of files and of shards: as many results as the last patch wrote."""
    made = tuple(draw(st.lists(patches, min_size=1, max_size=4)))
    source = draw(st.builds(FileIdentity, sizes, digests, digests | st.none(), shards))
    results = tuple(ShardIdentity(draw(sizes), draw(digests)) for _ in made[-1].n_tensors)
    sha256 = None if results else draw(digests)
    return Recipe(made, source, FileIdentity(draw(sizes), draw(digests), sha256, results))


recipes = recipes_of()


@given(recipes)
def test_the_text_of_a_recipe_is_read_as_it_was_meant(recipe: Recipe) -> None:
    text = recipe_text(recipe)
    assert parse_recipe(text.encode(), "r") == recipe
    for_people = f"# A comment\n\n{text}".replace("\n", "\r\n").replace(": ", "  : ")
    assert parse_recipe(for_people.encode(), "r") == recipe
    assert parse_recipe(for_people.encode("utf-8-sig"), "r") == recipe


@given(recipes, st.binary(max_size=40), st.randoms(use_true_random=False))
def test_any_other_text_is_an_error_with_its_line(
    recipe: Recipe, junk: bytes, rng: random.Random
) -> None:
    """Or it is a recipe all the same; nothing else ever comes of it."""
    data = recipe_text(recipe).encode()
    at = rng.randrange(len(data))
    for broken in (junk, data[:at], data[:at] + junk + data[at:], data[:at] + junk):
        try:
            parsed = parse_recipe(broken, "name")
        except UsageError as error:
            assert str(error).startswith("name")
            assert str(error).isprintable()
        else:
            assert parse_recipe(recipe_text(parsed).encode(), "r") == parsed


RECIPE = Recipe(
    (Patch(LayerPath("0..2,1..4"), "ggufsurgeon 1.0.0"),),
    FileIdentity(100, "0" * 64, "1" * 64),
    FileIdentity(200, "2" * 64, "3" * 64),
)
LINES = recipe_text(RECIPE).splitlines()
IN_SHARDS = replace(
    RECIPE,
    patches=(replace(RECIPE.patches[0], n_tensors=(3, 4)),),
    source=replace(RECIPE.source, shards=(ShardIdentity(60, "4" * 64), ShardIdentity(70, None))),
    result=replace(
        RECIPE.result, sha256=None, shards=(ShardIdentity(1, "5" * 64), ShardIdentity(2, "6" * 64))
    ),
)
SHARDS = recipe_text(IN_SHARDS).splitlines()
BAD = {
    "version": (["recipe: 2", *LINES[1:]], "line 1: recipe of version 2, expected 1"),
    "not first": (LINES[1:], "line 1: expected recipe: 1 before"),
    "twice": ([*LINES, LINES[2]], "line 9: source-n-bytes was given before"),
    "missing": (LINES[:-1], "lacks result-sha256"),
    "no patch": ([LINES[0], *LINES[2:]], "lacks patch"),
    "unknown": ([*LINES, "name: x"], "line 9: 'name: x' is no line"),
    "no colon": ([*LINES, "# fine", "", "text"], "line 11: 'text' is no line"),
    "upper case": ([*LINES[:-1], f"result-sha256: {'A' * 64}"], "line 8"),
    "short": ([*LINES[:-1], "result-sha256: 12"], "line 8: '12' is no value"),
    "escape": ([*LINES, "patch: \x1b]0;x\x07"], "line 9: '\\x1b]0;x\\x07' is no value of patch"),
    "tool": ([LINES[0], "patch: 0..4 by rm -rf", *LINES[2:]], "line 2"),
    "layers": ([LINES[0], "patch: 4..1 by ggufsurgeon 1", *LINES[2:]], "line 2: layers"),
    "many": (
        [LINES[0], *LINES[1:2] * 33, *LINES[2:]],
        "line 34: a recipe has no more than 32 patches",
    ),
    "long": ([*LINES, "#" * (1 << 20)], "is no recipe"),
    "shard": ([*SHARDS[:-1], "result-shard: 2"], "line 11: '2' is no value of result-shard"),
    "few shards": (SHARDS[:-1], "1 lines result-shard, and the last patch wrote 2 shards"),
    "no shards": ([*LINES, "result-shard: 2 " + "6" * 64], "wrote 0 shards"),
    "no result": (SHARDS[:-2], "lacks result-sha256"),
    "one": ([LINES[0], f"{LINES[1]}, in shards of 3 tensors", *LINES[2:]], "line 2"),
    "digits": ([*LINES[:2], "source-n-bytes: \u0663", *LINES[3:]], "line 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_line(case: str) -> None:
    lines, says = BAD[case]
    with pytest.raises(UsageError) as raised:
        parse_recipe("\n".join(lines).encode(), "r.txt")
    assert str(raised.value).startswith("r.txt")
    assert says in str(raised.value)


def test_there_is_a_form_for_each_key() -> None:
    written = [line.split(":")[0] for line in (*LINES, *SHARDS)]
    assert set(written) == set(FORMS)
    assert SHARDS[1] == "patch: 0..2,1..4 by ggufsurgeon 1.0.0, in shards of 3,4 tensors"
    assert SHARDS[5:7] == [f"source-shard: 60 {'4' * 64}", "source-shard: 70"]


def recipe_of(data: bytes) -> Recipe:
    found = find_ingredients(opened(data))
    file = opened(data)
    return Recipe(
        found.patches,
        FileIdentity(found.source_n_bytes, found.source_header_sha256, None),
        FileIdentity(len(data), file.header_sha256, None),
    )


@unhurried
@given(models(), st.lists(st.randoms(use_true_random=False), min_size=1, max_size=3), st.booleans())
def test_a_recipe_rebuilds_the_file(data: bytes, draws: list[random.Random], odd: bool) -> None:
    """Whatever the paths, blocks that are lost among them."""
    source = file = with_odd_padding(data) if odd else data
    n_blocks = N_BLOCKS
    for rng in draws:
        path = [0, *rng.choices(range(n_blocks), k=rng.randrange(1, 9))]
        file = run(plan_patch(opened(file), LayerPath.of(path)).write_plan, file)
        n_blocks = len(path)
    recipe = recipe_of(file)
    planned = plan_recipe(opened(source), recipe)
    assert run(planned.write_plan, source) == file
    assert opened(file).header.get("llama.block_count") == len(planned.path)
    after = {change.after.key: change.after.raw for change in planned.changes}
    before = opened(source).header.pair_of
    for pair in opened(file).header.pairs:
        expected = after.get(pair.key) or before[pair.key].raw
        assert pair.raw == expected


def test_another_source_and_another_version_are_refused() -> None:
    model = llama_model(4)
    plan = plan_patch(opened(model), LayerPath.of([0, 1, 1, 2, 3])).write_plan
    recipe = recipe_of(run(plan, model))
    assert plan_recipe(opened(model), recipe).write_plan == plan
    for source, says in (
        (llama_model(5), "it has"),
        (model.replace(b"Tiny", b"Tony"), "metadata or tensors"),
    ):
        with pytest.raises(RefusedError, match=says):
            plan_recipe(opened(source), recipe)
    other = replace(recipe, patches=(replace(recipe.patches[0], tool="ggufsurgeon 9.9"),))
    with pytest.raises(RefusedError) as refused:
        plan_recipe(opened(model), other)
    assert "ggufsurgeon 9.9" in refused.value.hint


def test_a_file_that_was_changed_since_has_no_recipe() -> None:
    model = llama_model(4)
    patched = run(plan_patch(opened(model), LayerPath.of([0, 1, 1, 2, 3])).write_plan, model)
    for old, new in (
        (b"Tiny (blocks", b"Fine (blocks"),
        (b"ggufsurgeon ", b"ggufsurgeo\x1b "),
        (b"0..1,1..3", b"0..1,1..9"),
    ):
        assert old in patched
        with pytest.raises(GgufSurgeonError) as refused:
            find_ingredients(opened(patched.replace(old, new)))
        assert refused.value.exit_code == 4
