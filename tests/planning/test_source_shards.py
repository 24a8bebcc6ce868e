"""Law 10 for shards: restore writes the same shards, and recipes rebuild files made from them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import make_pair
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.container.shards import paths_at
from ggufsurgeon.errors import GgufSurgeonError, RefusedError, VerificationError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.originals.source_shards import MOST_N_BYTES
from ggufsurgeon.planning.planner import ODD_SHARDS
from ggufsurgeon.planning.provenance import array_pair, text_pair
from ggufsurgeon.planning.sharding import in_shards, in_shards_of
from ggufsurgeon.write_plan import WritePlan
from tests.calls import patch
from tests.models.builders import I32, U16, U32, llama_model, pair
from tests.models.in_memory import with_odd_padding
from tests.models.sharding import cut, cut_evenly, split_keys, with_alignment, with_pairs
from tests.writing.plans import result_of

PATH = LayerPath.of([0, 2, 1, 1, 3])
LONGER = LayerPath.of([0, 1, 2, 3, 3, 4])
unhurried = settings(deadline=None, max_examples=25)
Change = Callable[[tuple[KeyValue, ...]], Sequence[KeyValue]]


def contents(paths: tuple[Path, ...] | list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def restored(patched: Path) -> list[bytes]:
    """What `restore` writes, in order."""
    planned = plan_restore(open_gguf(patched))
    assert not planned.remaining
    return list(map(result_of, planned.file_plans))


def rebuilt(source: Path, recipe: gs.Recipe) -> list[bytes]:
    """What `patch` writes of a recipe, in order."""
    plan = gs.open(source).plan_recipe(recipe).planned.write_plan
    n_tensors = recipe.patches[-1].n_tensors
    return list(map(result_of, in_shards_of(plan, n_tensors) if n_tensors else [plan]))


def written(plans: Sequence[WritePlan], destination: Path) -> list[Path]:
    """Write the files of plans without reservation, sync or temporary files."""
    paths = paths_at(destination, len(plans))
    for plan, path in zip(plans, paths, strict=True):
        path.write_bytes(result_of(plan))
    return paths


def draw_shards(data: st.DataObject, folder: Path) -> list[Path]:
    """Shards of a model: any cut, alignment, place of keys, more keys and ends of files."""
    whole = folder / "whole.gguf"
    whole.write_bytes(llama_model(4))
    alignment = data.draw(st.sampled_from([8, 32, 64, 128]))
    if alignment != 32:
        with_alignment(whole, whole, alignment)
    ends = data.draw(st.lists(st.integers(0, 10), min_size=1, max_size=5))
    paths = cut(whole, folder / "model", sorted(ends))
    if data.draw(st.booleans()):  # shards that have the alignment too
        plan = gs.open(whole).plan(LayerPath.identity(4)).planned.write_plan
        paths = written(in_shards(plan, len(plan.header)), folder / "ours.gguf")
    for number, path in enumerate(paths):
        more = [pair_of("other.key", number)] if number and data.draw(st.booleans()) else []
        with_pairs(path, shuffled(data, more))
    for shard in open_gguf(paths[0]).shards:
        n_padding = shard.layout.n_bytes - end_of_tensors(shard.path)
        cut_off(shard.path, data.draw(st.integers(0, n_padding if shard.header.tensors else 0)))
    return paths


def shuffled(data: st.DataObject, more: Sequence[KeyValue]) -> Change:
    """A change of pairs that adds some and draws an order of all."""
    return lambda pairs: data.draw(st.permutations([*pairs, *more]))


def replacing(put: KeyValue) -> Change:
    """A change of pairs that puts one in the place of that of its key."""
    return lambda pairs: [put if pair.key == put.key else pair for pair in pairs]


def end_of_tensors(path: Path) -> int:
    """Where the last tensor of a shard ends."""
    shards = open_gguf(path).shards
    (shard,) = (shard for shard in shards if shard.path == path)
    last = shard.header.tensors[-1].offset_in_data if shard.header.tensors else 0
    return shard.layout.data_start + last + (0, *shard.layout.tensor_n_bytes)[-1]


def pair_of(key: str, number: int) -> KeyValue:
    return make_pair(key, ValueType.UINT32, struct.pack("<I", number), "<")


def cut_off(path: Path, n_bytes: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - n_bytes])


def patched(source: Path, path: AnyPath, destination: Path) -> Path:
    return written([gs.open(source).plan(path).planned.write_plan], destination)[0]


def patched_in_two(source: Path, path: LayerPath, destination: Path) -> list[Path]:
    """Patch into two shards: the metadata and some tensors, and the others."""
    plan = gs.open(source).plan(path).planned.write_plan
    made = written(in_shards(plan, len(plan.header)), destination)
    assert len(made) == 2
    return made


def patch_all(
    data: st.DataObject, source: Path, folder: Path, outputs: list[str]
) -> tuple[Path, bool]:
    """One patch after another, each into one file, or shards by this program or by others.

    The last file, and whether there is a recipe: others may leave out the alignment.
    """
    file, path, has_recipe = source, PATH, True
    for number, output in enumerate(outputs):
        destination = folder / f"{number}.gguf"
        if output == "two":
            file = patched_in_two(file, path, destination)[1]
        else:
            file = patched(file, path, destination)
        if output == "cut":
            model = open_gguf(file)
            n_tensors = len(model.header.tensors)
            ends = data.draw(st.lists(st.integers(0, n_tensors), min_size=1, max_size=3))
            file = cut(file, folder / f"{number}", sorted(ends))[0]
            has_recipe &= "general.alignment" not in model.header.pair_of
        path = LayerPath.of([*range(len(path)), 0])
    return file, has_recipe


output_lists = st.lists(st.sampled_from(["one", "two", "cut"]), min_size=1, max_size=3)


@unhurried
@given(st.data(), output_lists)
def test_the_very_shards_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, outputs: list[str]
) -> None:
    """Through one patch or several, into files or shards; and a recipe makes these again."""
    folder = tmp_path_factory.mktemp("shards")
    source = draw_shards(data, folder)
    file, has_recipe = patch_all(data, source[-1], folder, outputs)
    assert restored(file) == contents(source)
    if not has_recipe:
        with pytest.raises(RefusedError):
            gs.open(file).recipe()
        return
    recipe = gs.open(file).recipe()
    assert [shard.n_bytes for shard in recipe.source.shards] == [len(c) for c in contents(source)]
    assert rebuilt(source[0], recipe) == contents([each.path for each in open_gguf(file).files])


@unhurried
@given(st.data(), output_lists)
def test_a_single_file_comes_back_from_shards(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, outputs: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    source = folder / "source.gguf"
    source.write_bytes(llama_model(4))
    file, _ = patch_all(data, source, folder, outputs)
    assert restored(file) == [source.read_bytes()]
    recipe = gs.open(file).recipe()
    assert recipe.source.shards == ()
    cut_evenly(source, folder / "model")
    expected = contents([each.path for each in open_gguf(file).files])
    for given_source in (source, folder / "model-00002-of-00003.gguf"):
        assert rebuilt(given_source, recipe) == expected


def merged(path: Path, n_tensors: int) -> None:
    """Leave the keys that llama-gguf-split leaves in what it merges."""
    with_pairs(path, lambda pairs: [*pairs, *split_keys(0, 0, n_tensors)])


def test_what_llama_gguf_split_has_merged(tmp_path: Path) -> None:
    """As the source, as the patched file, and in shards: the split keys are nobody's."""
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    merged(source, 10)
    shards = patched_in_two(source, PATH, tmp_path / "new.gguf")
    assert restored(shards[1]) == [source.read_bytes()]
    patch(source, tmp_path / "one.gguf", PATH)
    assert open_gguf(tmp_path / "one.gguf").header.get("split.tensors.count") is None
    merged(tmp_path / "one.gguf", 12)
    assert restored(tmp_path / "one.gguf") == [source.read_bytes()]
    patch(tmp_path / "one.gguf", tmp_path / "two.gguf", LayerPath.of([4, 3, 2, 1, 0, 0]))
    merged(tmp_path / "two.gguf", 14)
    assert restored(tmp_path / "two.gguf") == [source.read_bytes()]


def test_recipes_of_what_llama_gguf_split_has_merged_are_told(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    one = patched(source, PATH, tmp_path / "one.gguf")
    recipe = gs.open(one).recipe()
    merged(source, 10)
    merged(one, 12)
    for call in (lambda: gs.open(source).plan_recipe(recipe), gs.open(one).recipe):
        with pytest.raises(RefusedError) as refused:
            call()
        assert "merged by llama-gguf-split" in refused.value.hint
    made = gs.open(patched(source, PATH, tmp_path / "two.gguf"))
    found = gs.open(source).diff(made)
    assert str(found.layer_path) == "0,2,1,1,3" and found.unexplained == ()
    merged(made.path, 12)
    assert gs.open(source).diff(made.path).unexplained == ()


def odd_padding(paths: list[Path]) -> None:
    content = bytearray(paths[1].read_bytes())
    content[end_of_tensors(paths[1]) :] = b"x" * (len(content) - end_of_tensors(paths[1]))
    assert b"x" in content
    paths[1].write_bytes(content)


def odd_padding_without_tensors(paths: list[Path]) -> None:
    content = bytearray(paths[0].read_bytes())
    content[-1] = 1
    paths[0].write_bytes(content)


def too_many_keys(paths: list[Path]) -> None:
    text = "x" * MOST_N_BYTES
    more = make_pair("k", ValueType.STRING, encode_value(ValueType.STRING, text, "<"), "<")
    with_pairs(paths[2], lambda pairs: [*pairs, more])


def two_versions(paths: list[Path]) -> None:
    with_pairs(paths[1], lambda pairs: pairs, version=2)


ODD = [odd_padding, odd_padding_without_tensors, too_many_keys, two_versions]


@pytest.mark.parametrize("make_odd", ODD)
def test_odd_shards_are_told_before_and_refused_after(
    tmp_path: Path, make_odd: Callable[[list[Path]], None]
) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    n_first = 0 if make_odd is odd_padding_without_tensors else 3
    paths = cut(source, tmp_path / "model", [n_first, 5])
    plan = gs.open(paths[0]).plan(PATH)
    assert ODD_SHARDS not in plan.notes
    make_odd(paths)
    plan = gs.open(paths[0]).plan(PATH)
    assert ODD_SHARDS in plan.notes
    one = plan.write(tmp_path / "one.gguf")
    for call in (gs.open(one).recipe, lambda: gs.open(one).restore(tmp_path / "back.gguf")):
        with pytest.raises(RefusedError, match="shards were not recorded"):
            call()
    patch(one, tmp_path / "two.gguf", LONGER)
    found = gs.open(tmp_path / "two.gguf").restore(tmp_path / "back.gguf")
    assert "were not recorded" in found.remaining
    assert (tmp_path / "back.gguf").read_bytes() == one.read_bytes()


def test_bytes_that_shards_have_no_place_for(tmp_path: Path) -> None:
    """llama-gguf-split leaves out what follows the tensors, padding of the source among it."""
    source = tmp_path / "source.gguf"
    source.write_bytes(with_odd_padding(llama_model(4)))
    patch(source, tmp_path / "one.gguf", PATH)
    shards = cut_evenly(tmp_path / "one.gguf", tmp_path / "cut")
    with pytest.raises(RefusedError, match="bytes that followed the tensors"):
        gs.open(shards[0]).restore(tmp_path / "back.gguf")
    assert not list(tmp_path.glob("back*"))


def of_text(text: str) -> Callable[[str], KeyValue]:
    return lambda key: text_pair(key.removeprefix("layer_path."), text, "<")


def of_bytes(raw: bytes) -> Callable[[str], KeyValue]:
    name = "layer_path."
    return lambda key: array_pair(key.removeprefix(name), ValueType.UINT8, len(raw), raw, "<")


HUGE = "9" * 19
NO_ALIGNMENT = b"".join(pair("general.alignment", U32, n) if n is not None else b"" for n in (0,))
KEYS = pair("split.no", U16, 0) + pair("split.count", U16, 3) + pair("split.tensors.count", I32, 10)
DAMAGED: dict[str, list[Callable[[str], KeyValue]]] = {
    "source_shards": [
        *map(of_text, ["", "3", "3+3+800", "3+3+800,3+3+1", f"3+3+{HUGE},3+3+9,3+4+9"]),
        *map(of_text, [f"{HUGE}+3+9,3+3+9,3+4+9", f"3+{HUGE}+9,3+3+9,3+4+9", "0+0+24," * 99]),
        of_bytes(b"3"),
    ],
    "source_shards_pairs": [
        *map(of_bytes, [b"", b"x", KEYS, KEYS * 2, KEYS * 4, KEYS[:-1]]),
        of_bytes(KEYS + NO_ALIGNMENT + KEYS[:22] + KEYS[22:] + NO_ALIGNMENT),
        of_bytes(KEYS * 2 + pair("general.alignment", U32, 0) * 3),
        of_bytes(KEYS * 2 + pair("general.alignment", U32, 1 << 31) + KEYS[:22] * 2),
        of_text("text"),
    ],
    "source_shards_keys_at": [*map(of_text, ["", "0,1,2", f"{HUGE},1,2", "a,b,c"])],
    "source_shards_sha256": [*map(of_text, ["", "0" * 64]), of_bytes(b"x")],
}


@pytest.mark.parametrize("key", DAMAGED)
def test_a_damaged_record_is_refused(tmp_path: Path, key: str) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    patch(cut_evenly(source, tmp_path / "model")[0], tmp_path / "one.gguf", PATH)
    path, name = tmp_path / "one.gguf", f"layer_path.{key}"
    good = path.read_bytes()
    calls = (lambda: gs.open(path).recipe(), lambda: gs.open(path).restore(tmp_path / "back.gguf"))
    for number, damaged in enumerate(DAMAGED[key]):
        path.write_bytes(good)
        with_pairs(path, replacing(damaged(name)))
        for call in calls:
            with pytest.raises(GgufSurgeonError) as error:
                call()
            assert error.value.exit_code in (3, 4), (key, number)
        assert not list(tmp_path.glob("back*"))


def test_a_recipe_asks_for_the_very_shards(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    shards = cut_evenly(source, tmp_path / "model")
    patch(shards[0], tmp_path / "one.gguf", PATH)
    recipe = gs.open(tmp_path / "one.gguf").recipe()
    assert (recipe.source.sha256, recipe.result.shards) == (None, ())
    refused = {
        "it is one file, and the original is in 3 shards": source,
        "it is in 4 shards, and the original is in 3": cut_evenly(source, tmp_path / "m4", 4)[0],
        "it has ": cut(source, tmp_path / "other", [2, 8])[0],
    }
    for says, path in refused.items():
        with pytest.raises(RefusedError, match=says):
            gs.open(path).plan_recipe(recipe)
    merged(source, 10)
    with pytest.raises(RefusedError, match="it is one file"):
        gs.open(source).plan_recipe(recipe)
    content = bytearray(shards[1].read_bytes())
    content[end_of_tensors(shards[1]) - 1] ^= 1
    shards[1].write_bytes(content)
    with pytest.raises(RefusedError, match=r"00002-of-00003.* its SHA-256 differs"):
        gs.open(shards[2]).plan_recipe(recipe)


def test_a_recipe_of_which_blocks_are_lost_knows_the_sizes_of_shards(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    shards = cut_evenly(source, tmp_path / "model")
    made = patched_in_two(shards[0], LayerPath.of([0, 3]), tmp_path / "new.gguf")
    recipe = gs.open(made[0]).recipe()
    assert [shard.sha256 for shard in recipe.source.shards] == [None] * 3
    plan = gs.open(shards[1]).plan_recipe(recipe)
    assert plan.write(tmp_path / "again.gguf") == plan.paths_at(tmp_path / "again.gguf")[0]
    assert contents(plan.paths_at(tmp_path / "again.gguf")) == contents(made)
    wrong = replace(recipe.result.shards[0], sha256="0" * 64)
    result = replace(recipe.result, shards=(wrong, *recipe.result.shards[1:]))
    plan = gs.open(shards[1]).plan_recipe(replace(recipe, result=result))
    with pytest.raises(VerificationError):
        plan.write(tmp_path / "third.gguf")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("third", "."))]


def test_a_recipe_of_shards_that_others_wrote_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    shards = patched_in_two(source, PATH, tmp_path / "new.gguf")
    gs.open(shards[0]).recipe()
    with_pairs(shards[1], lambda pairs: pairs[::-1])
    with pytest.raises(RefusedError, match="are not as ggufsurgeon writes them"):
        gs.open(shards[0]).recipe()
    assert restored(shards[0]) == [source.read_bytes()]


def test_shards_of_a_recipe_must_add_up(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(llama_model(4))
    made = patched_in_two(source, PATH, tmp_path / "new.gguf")
    recipe = gs.open(made[0]).recipe()
    (patch_,) = recipe.patches
    *some, last = patch_.n_tensors
    other = replace(recipe, patches=(replace(patch_, n_tensors=(*some, last + 1)),))
    plan = gs.open(source).plan_recipe(other)
    with pytest.raises(RefusedError, match="shards of it would have"):
        plan.write(tmp_path / "again.gguf")


TOOL = "llama-gguf-split"
OPTIONS = [
    ("--split-max-tensors", "10"),
    ("--no-tensor-first-split", "--split-max-tensors", "25"),
    ("--split-max-size", "1M"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[0].strip("-"))
def test_shards_by_the_real_tool(stories: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    tool = shutil.which(TOOL)
    if tool is None:
        pytest.skip(f"needs {TOOL} of llama.cpp in the PATH")
    subprocess.run([tool, *options, stories, tmp_path / "model"], check=True, capture_output=True)
    shards = sorted(tmp_path.glob("model-*"))
    made = gs.open(shards[-1]).plan(gs.repeat("1:3")).write_shards(tmp_path / "new.gguf", 10**6)
    assert len(made) == 2
    assert restored(made[1]) == contents(shards)
    whole = patched(stories, gs.repeat("1:3"), tmp_path / "whole.gguf")
    split = [tool, "--split-max-tensors", "20", str(whole), str(tmp_path / "cut")]
    subprocess.run(split, check=True, capture_output=True)
    cut_by_tool = sorted(tmp_path.glob("cut-*"))
    assert restored(cut_by_tool[0]) == [stories.read_bytes()]
    plan = gs.open(stories).plan_recipe(gs.open(cut_by_tool[0]).recipe())
    plan.write(tmp_path / "again.gguf")
    assert contents(plan.paths_at(tmp_path / "again.gguf")) == contents(cut_by_tool)
