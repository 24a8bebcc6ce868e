"""Recipes of files of several models, or with other MTP blocks: the same bytes, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UnmatchedModelsError, UsageError, VerificationError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.rebuilding.recipes import (
    Patch,
    patch_all,
)
from ggufsurgeon.publishing.rebuilding_yaml import recipe_yaml
from tests.models.builders import Tensor, with_text
from tests.models.second import expand_two
from tests.models.sharding import cut_evenly
from tests.planning.test_mtp_change import blocks_of, model, written
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


@pytest.mark.parametrize("multipliers", ["*0.5", "*attn_q=0.84*attn_k=0.5", "*0.5*ffn_down=0.25"])
def test_strengths_and_factors(multipliers: str, stories: Path, tmp_path: Path) -> None:
    second = gs.open(stories).plan(LayerPath("4,3,2,1,0")).write(tmp_path / "second.gguf")
    path = LayerPath(f"0..1,2..3{multipliers},1:1..2,1:3..4{multipliers}")
    mixed = gs.open(stories).plan(path, others=[second]).write(tmp_path / "mixed.gguf")
    assert rebuilt(mixed, stories, model_1=second) == mixed.read_bytes()


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


EARLIER, LATER = "ggufsurgeon 0.0.8", "ggufsurgeon 0.0.9"


def made(folder: Path, source: Path, further: dict[int | None, Path], *patches: Patch) -> Path:
    """The file that programs of other versions would have made."""
    files = {number: gs.open(path).file for number, path in further.items()}
    planned = patch_all(gs.open(source).file, patches, None, files)
    return gs.Plan(planned).write(folder / "made.gguf", replace=True)


def test_the_program_that_made_a_file_is_that_of_its_recipe(tmp_path: Path) -> None:
    source = written(tmp_path / "source.gguf", model(4, 1))
    other = written(tmp_path / "other.gguf", model(4, 1, fill=50))
    mtp = gs.open(other).file.header_sha256
    trunk = partial(Patch, is_trunk=True)
    both = made(
        tmp_path,
        source,
        {1: other},
        trunk(MIXED, EARLIER, outside=OutsideBlocks(0, 1, 0)),
        trunk(LayerPath("0..4"), LATER),
    )
    assert rebuilt(both, source, model_1=other) == both.read_bytes()
    assert (
        "made: by ggufsurgeon 0.0.8\nthen:\n- 0..4 by ggufsurgeon 0.0.9\n"
        in (tmp_path / "recipe.yml").read_text()
    )
    for last in (EARLIER, LATER):
        first, then = trunk(PATH, EARLIER, mtp=mtp), trunk(LayerPath("0..4"), last)
        changed = made(tmp_path, source, {None: other}, first, then)
        assert rebuilt(changed, source, mtp_donor=other) == changed.read_bytes()
        alone = replace(first, layers=LayerPath("0..3"))
        step = made(tmp_path, source, {None: other}, alone, replace(then, layers=PATH))
        assert rebuilt(step, source, mtp_donor=other) == step.read_bytes()
        is_one = "then:" not in (tmp_path / "recipe.yml").read_text()
        assert is_one == (last == EARLIER)


def test_sources_of_any_recipe_can_be_told_by_size_and_header(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    size, header = second.stat().st_size, gs.open(second).file.header_sha256
    for key, value, wrong, told in (
        ("n_bytes", size, size + 1, f"second.gguf is not the file .* it has {size:,} bytes"),
        ("header_sha256", header, "0" * 64, "second.gguf is not the file .* its header differs"),
    ):
        for found in (value, wrong):
            text = f"sources:\n  a:\n  b: {{{key}: {found}}}\nlayers: a:0..2, b:1..3\n"
            (tmp_path / "own.yml").write_text(text)
            if found == value:
                gs.open(first).plan_recipe(tmp_path / "own.yml", others={"b": second})
                continue
            with pytest.raises(RefusedError, match=told):
                gs.open(first).plan_recipe(tmp_path / "own.yml", others={"b": second})


def test_mtp_blocks_by_a_recipe_of_ones_own(tmp_path: Path) -> None:
    first, second = two(tmp_path, 1)
    others: dict[str, Path] = {"b": second}
    (tmp_path / "own.yml").write_text("sources: {a: , b: }\nlayers: a:0..3\nmtp: b\n")
    with pytest.raises(UsageError, match="takes only MTP blocks from 'b': it is not the source"):
        gs.open(second).plan_recipe(tmp_path / "own.yml", others={"a": first})
    (tmp_path / "own.yml").write_text("sources: {a: , b: }\nlayers: a:0,b:1\nmtp: none\n")
    with pytest.raises(UsageError, match="MTP blocks are those of the model of the output"):
        gs.open(first).plan_recipe(tmp_path / "own.yml", others=others)


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
    with pytest.raises(RefusedError, match=r"its SHA-256 is .*, and the recipe has 0000"):
        gs.open(first).plan_recipe(told, others={"model-1": second})
