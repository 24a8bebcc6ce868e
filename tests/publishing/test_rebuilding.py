"""Recipes of files of several models, or with other MTP blocks: the same bytes, or a refusal."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError, VerificationError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.recipes import (
    FileIdentity,
    FurtherModel,
    Patch,
    Recipe,
    ShardIdentity,
)
from ggufsurgeon.publishing.rebuilding_yaml import recipe_of_yaml, recipe_yaml
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from tests.models.builders import Tensor, with_text
from tests.models.second import expand_two
from tests.models.sharding import cut_evenly
from tests.planning.test_mtp_change import blocks_of, model, written
from tests.planning.test_recipes import digests, names, sizes, tools
from tests.planning.test_several_models import model as llama

MIXED = LayerPath("0..2,1:1..3")
PATH = LayerPath("0..2,1..3")


def rebuilt(patched: Path, source: Path, **others: Path) -> bytes:
    """The file that the printed recipe of a file makes of its models, after checking its record."""
    folder = patched.parent
    recipe = gs.open(patched).recipe()
    text = recipe_yaml(recipe)
    (folder / "recipe.yml").write_text(text)
    files = {name.replace("_", "-"): path for name, path in others.items()}
    plan = gs.open(source).plan_recipe(folder / "recipe.yml", others=files)
    assert plan.recipe == recipe
    return plan.write(folder / "again.gguf", replace=True).read_bytes()


def two(folder: Path, n_mtp: int = 0) -> tuple[Path, Path]:
    first = written(folder / "first.gguf", model(4, n_mtp))
    return first, written(folder / "second.gguf", model(4, n_mtp, fill=50))


@pytest.mark.parametrize("n_mtp", [0, 2])
@pytest.mark.parametrize("outside", [None, OutsideBlocks(1, 0, 1)])
def test_several_models(n_mtp: int, outside: OutsideBlocks | None, tmp_path: Path) -> None:
    first, second = two(tmp_path, n_mtp)
    plan = gs.open(first).plan(MIXED, others=[second], outside=outside)
    mixed = plan.write(tmp_path / "mixed.gguf")
    assert rebuilt(mixed, first, model_1=second) == mixed.read_bytes()
    found = gs.open(mixed).original_path()
    assert (str(found.layer_path), found.n_mtp) == ("0..2,1:1..3", n_mtp)
    assert found.outside == (outside or OutsideBlocks(0, 1, 0))
    assert list(found.models) == [0, 1]


def test_a_file_of_several_models_that_is_patched_again(tmp_path: Path) -> None:
    first, second = two(tmp_path, 1)
    mixed = gs.open(first).plan(MIXED, others=[second]).write(tmp_path / "mixed.gguf")
    once = gs.open(mixed).plan(gs.drop("1:2")).write(tmp_path / "once.gguf")
    twice = gs.open(once).plan(LayerPath("4,0..4"))
    last = twice.write(tmp_path / "twice.gguf")
    assert rebuilt(last, first, model_1=second) == last.read_bytes()
    assert str(gs.open(last).original_path().layer_path) == "1:3,0,2,1:1..3"
    assert blocks_of(once) == [0, 2, 51, 52, 53, 54]


def test_numbers_of_models_that_the_path_does_not_use_are_kept(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    third = written(tmp_path / "third.gguf", model(4, 0, fill=90))
    plan = gs.open(first).plan(LayerPath("0..1,2:2..3"), others=[second, third])
    mixed = plan.write(tmp_path / "mixed.gguf")
    assert rebuilt(mixed, first, model_2=third) == mixed.read_bytes()


def test_sources_and_results_in_shards(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    (tmp_path / "a").mkdir()
    parts = cut_evenly(second, tmp_path / "a/second")
    plan = gs.open(first).plan(MIXED, others=[parts[1]])
    mixed = plan.write(tmp_path / "mixed.gguf")
    for either in (second, parts[0]):
        assert rebuilt(mixed, first, model_1=either) == mixed.read_bytes()
    shards = plan.write_shards(tmp_path / "cut.gguf", plan.n_bytes - 64)
    assert len(shards) > 1
    recipe = gs.open(shards[0]).recipe()
    again = gs.open(first).plan_recipe(recipe, others={"model-1": second})
    made = again.paths_at(again.write(tmp_path / "again.gguf").with_name("again.gguf"))
    assert [p.read_bytes() for p in made] == [p.read_bytes() for p in shards]


@pytest.mark.parametrize("path", [PATH, LayerPath("0..3"), LayerPath("0..1")])
def test_mtp_blocks_that_are_left_out(path: LayerPath, tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 2, heads=(1, 2, 3, 4, 5, 6)))
    patched = gs.open(source).plan(path, without_mtp=True).write(tmp_path / "patched.gguf")
    assert rebuilt(patched, source) == patched.read_bytes()
    assert "\nmtp: none\n" in (tmp_path / "recipe.yml").read_text()
    twice = gs.open(patched).plan(gs.repeat("0:2")).write(tmp_path / "twice.gguf")
    assert rebuilt(twice, source) == twice.read_bytes()


@pytest.mark.parametrize("n_own", [0, 1])
@pytest.mark.parametrize("path", [PATH, LayerPath("0..3"), LayerPath("0..1")])
def test_mtp_blocks_of_another_file(path: LayerPath, n_own: int, tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, n_own))
    donor = written(tmp_path / "donor.gguf", model(4, 2, fill=100))
    patched = gs.open(source).plan(path, mtp_from=donor).write(tmp_path / "patched.gguf")
    assert rebuilt(patched, source, mtp_donor=donor) == patched.read_bytes()
    is_known = not n_own and path != LayerPath("0..1")
    assert (gs.open(patched).recipe().source.sha256 is not None) == is_known
    twice = gs.open(patched).plan(gs.repeat("0:2")).write(tmp_path / "twice.gguf")
    assert rebuilt(twice, source, mtp_donor=donor) == twice.read_bytes()
    found = gs.open(twice).original_path()
    assert found.n_mtp == 2 and max(found.layer_path.blocks) < 4
    assert found.mtp == gs.open(donor).file.header_sha256


def test_other_mtp_blocks_of_a_model_in_shards(tmp_path: Path) -> None:
    whole = written(tmp_path / "source.gguf", model(4, 1))
    (tmp_path / "a").mkdir()
    shards = cut_evenly(whole, tmp_path / "a/source")
    patched = gs.open(shards[0]).plan(PATH, without_mtp=True).write(tmp_path / "patched.gguf")
    assert rebuilt(patched, shards[1]) == patched.read_bytes()
    with pytest.raises(RefusedError, match="one file, and the original is in"):
        rebuilt(patched, whole)
    alone = gs.open(whole).plan(PATH, without_mtp=True).write(tmp_path / "alone.gguf")
    assert rebuilt(alone, shards[1]) == alone.read_bytes()
    bare = gs.open(whole).plan(LayerPath("0..3"), without_mtp=True)
    cut = bare.write_shards(tmp_path / "bare.gguf", bare.n_bytes - 64)
    assert len(cut) > 1
    last = gs.open(cut[0]).plan(PATH).write(tmp_path / "last.gguf")
    assert rebuilt(last, whole) == last.read_bytes()


def test_the_path_of_a_recipe_to_run_it_without_a_file(tmp_path: Path) -> None:
    first, second = two(tmp_path, 1)
    mixed = gs.open(first).plan(MIXED, others=[second]).write(tmp_path / "mixed.gguf")
    twice = gs.open(mixed).plan(gs.drop("1:2")).write(tmp_path / "twice.gguf")
    found = gs.open(first).recipe_path(gs.open(twice).recipe(), others={"model-1": second})
    assert (str(found.layer_path), found.outside) == ("0,2,1:1..3", None)  # beside the path
    assert [file.path for file in found.others] == [second]
    changed = gs.open(first).plan(PATH, mtp_from=second).write(tmp_path / "changed.gguf")
    alone = gs.open(first).recipe_path(gs.open(changed).recipe(), others={"mtp-donor": second})
    assert (alone.layer_path, alone.others, alone.outside) == (PATH, (), None)


def test_tensors_that_all_blocks_read_must_be_equal(tmp_path: Path) -> None:
    def freqs(fill: int) -> list[Tensor]:
        return [Tensor("rope_freqs.weight", (8,), bytes([fill] * 32))]

    first = written(tmp_path / "first.gguf", llama(0, extra=freqs(1)))
    second = written(tmp_path / "second.gguf", llama(1, extra=freqs(1)))
    mixed = gs.open(first).plan(MIXED, others=[second]).write(tmp_path / "mixed.gguf")
    recipe = gs.open(mixed).recipe()
    assert gs.open(first).plan_recipe(recipe, others={"model-1": second})
    other = written(tmp_path / "other.gguf", llama(1, extra=freqs(2)))
    with pytest.raises(RefusedError, match=r"rope_freqs\.weight"):
        gs.open(first).plan_recipe(recipe, others={"model-1": other})


@pytest.mark.parametrize("name", ["qwen3moe-moe", "gemma2-dense", "step35_mtp-moe"])
def test_real_headers(name: str, tmp_path: Path) -> None:
    """With arrays, periods, experts and tied embeddings."""
    first, second = expand_two(name, tmp_path)
    last = gs.open(first).n_blocks - 1
    path = LayerPath(f"0..{last},1:0..{last}")
    outside = OutsideBlocks(1, 1, 0)
    mixed = gs.open(first).plan(path, others=[second], outside=outside)
    file = mixed.write(tmp_path / "mixed.gguf")
    assert rebuilt(file, first, model_1=second) == file.read_bytes()


def test_mtp_blocks_that_were_changed_later_have_no_recipe(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 1))
    once = gs.open(source).plan(PATH).write(tmp_path / "once.gguf")
    later = gs.open(once).plan(LayerPath("0..5"), without_mtp=True).write(tmp_path / "later.gguf")
    with pytest.raises(RefusedError, match="left out or replaced after an earlier patch"):
        gs.open(later).recipe()


def test_a_file_that_was_changed_since_is_not_rebuilt(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    mixed = gs.open(first).plan(MIXED, others=[second]).write(tmp_path / "mixed.gguf")
    mixed.write_bytes(with_text(mixed.read_bytes(), "general.author", "somebody"))
    with pytest.raises(RefusedError, match="this version of ggufsurgeon would write another file"):
        rebuilt(mixed, first, model_1=second)


def test_other_files_than_those_of_the_recipe(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    mixed = gs.open(first).plan(MIXED, others=[second]).write(tmp_path / "mixed.gguf")
    recipe = gs.open(mixed).recipe()
    with pytest.raises(UnmatchedModelsError, match="no file is given for 'model-1'"):
        gs.open(first).plan_recipe(recipe)
    with pytest.raises(UsageError, match="'model-0' is the first model of the recipe"):
        gs.open(second).plan_recipe(recipe, others={"model-0": first})
    with pytest.raises(UsageError, match="names no model 'x' besides the source"):
        gs.open(first).plan_recipe(recipe, others={"model-1": second, "x": second})
    longer = written(tmp_path / "longer.gguf", second.read_bytes() + bytes(32))
    with pytest.raises(RefusedError, match=r"not the file of the recipe's model 'model-1': it has"):
        gs.open(first).plan_recipe(recipe, others={"model-1": longer})
    named = with_text(second.read_bytes(), "general.author", "somebody")
    other = written(tmp_path / "other.gguf", named)
    with pytest.raises(RefusedError, match="not the file of the recipe's model"):
        gs.open(first).plan_recipe(recipe, others={"model-1": other})
    weights = written(tmp_path / "w.gguf", model(4, 0, fill=60))  # a fine-tune of the same header
    plan = gs.open(first).plan_recipe(recipe, others={"model-1": weights})
    with pytest.raises(VerificationError):
        plan.write(tmp_path / "wrong.gguf")
    assert not (tmp_path / "wrong.gguf").exists()
    told = replace(recipe, further=(replace(recipe.further[0], sha256="0" * 64),))
    with pytest.raises(RefusedError, match="its SHA-256 is another one"):
        gs.open(first).plan_recipe(told, others={"model-1": second})


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
    "made": ("made: by gguf", "made: by rm", "made: expected such as: by ggufsurgeon 1.0.0"),
    "named": (
        "made: by ggufsurgeon 1.0.0",
        "made: by ggufsurgeon 1.0.0, named X",
        "belongs to name",
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
