"""Companions of one of several models: which of them it is, what they get, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import OtherBaseError, RefusedError, SeveralNumbersError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from tests.companions.test_planning import contents
from tests.models.builders import STRING, pair, with_text
from tests.models.companions import (
    RANK,
    control_vectors,
    imatrix,
    imatrix_tensors,
    lora,
    lora_tensors,
    values,
)
from tests.models.drafts import eagle3
from tests.models.expanding import expand_named
from tests.models.fine_tunes import fine_tune
from tests.models.second import expand_two
from tests.models.vocabularies import with_byte_tokens

PATH = LayerPath("0..2,1:1..3,1:2")
OF_SECOND = {3: 1, 4: 2, 5: 3, 6: 2}
"""The positions at which blocks of model 1 run, and these blocks."""


@pytest.fixture
def models(stories: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two fine-tunes that their headers tell apart."""
    second = fine_tune(stories, tmp_path / "tuned.gguf")
    named = tmp_path / "second.gguf"
    named.write_bytes(with_text(second.read_bytes(), "general.basename", "Second"))
    return stories, named


@pytest.fixture
def mixed(models: tuple[Path, Path], tmp_path: Path) -> Path:
    return gs.open(models[0]).plan(PATH, others=[models[1]]).write(tmp_path / "mixed.gguf")


def moved(model: Path, companion: Path, patched: Path, number: int | None = None) -> Path:
    planned = gs.open(model).plan_companion(companion, patched=patched, number=number)
    return planned.write(companion.with_suffix(".moved.gguf"), replace=True)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("make", [lora, imatrix])
def test_blocks_of_the_model_have_what_its_blocks_had_and_others_nothing(
    make: object, models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    companion = written(tmp_path / "companion.gguf", make(models[1]))  # type: ignore[operator]
    before, after = contents(companion), contents(moved(models[1], companion, mixed))
    expected = {
        name.replace(f"blk.{block}.", f"blk.{position}.", 1): content
        for position, block in OF_SECOND.items()
        for name, content in before.items()
        if name.startswith(f"blk.{block}.")
    }
    assert expected and after == expected


def test_vectors_are_behind_blocks_of_the_model_alone(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    vectors = written(tmp_path / "vectors.gguf", control_vectors(models[1], [1, 2, 4]))
    before, after = contents(vectors), contents(moved(models[1], vectors, mixed))
    of = {3: 1, 4: 2, 6: 2}
    assert after == {f"direction.{n}": before[f"direction.{old}"] for n, old in of.items()}
    planned = gs.open(models[1]).plan_companion(vectors, patched=mixed)
    assert planned.notes == (
        "it has nothing for the 3 of 7 blocks that come from other models than model 1 of the "
        "layer path",
    )


def test_imatrices_of_all_models_together_cover_every_block_once(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    """So that llama-imatrix, which adds up what two files have of one weight, joins them."""
    parts = []
    for number, model in enumerate(models):
        about = written(tmp_path / f"about-{number}.gguf", imatrix(model))
        planned = gs.open(model).plan_companion(about, patched=mixed)
        assert any("join them with llama-imatrix" in note for note in planned.notes)
        parts.append(set(contents(planned.write(tmp_path / f"part-{number}.gguf"))))
    whole = {tensor.name for tensor in imatrix_tensors(mixed)}
    assert parts[0] | parts[1] == whole and not parts[0] & parts[1]


def test_which_model_it_is_follows_from_its_header(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    adapter = written(tmp_path / "lora.gguf", lora(models[0]))
    found = gs.open(moved(models[0], adapter, mixed)).metadata
    assert (found["layer_path.blocks"], found["layer_path.base_number"]) == (str(PATH), "0")
    assert moved(models[0], adapter, mixed, 0).read_bytes()
    with pytest.raises(
        RefusedError, match=r"was not made from .* as model 1 of its layer path, by"
    ):
        moved(models[0], adapter, mixed, 1)
    other = written(
        tmp_path / "other.gguf", with_text(models[0].read_bytes(), "general.author", "x")
    )
    with pytest.raises(RefusedError, match="was not made from"):
        moved(other, adapter, mixed)
    longer = written(tmp_path / "longer.gguf", models[0].read_bytes() + bytes(32))
    with pytest.raises(RefusedError, match="was not made from"):
        moved(longer, adapter, mixed)


@pytest.mark.parametrize("name", ["llama-dense", "qwen2-dense", "llama-moe", "qwen3-dense"])
def test_models_of_one_header_are_told_apart_by_their_data(name: str, tmp_path: Path) -> None:
    first, second = expand_two(name, tmp_path)
    mixed = gs.open(first).plan(PATH, others=[second]).write(tmp_path / "mixed.gguf")
    for number, (model, positions) in enumerate(((first, {0, 1, 2}), (second, set(OF_SECOND)))):
        adapter = written(tmp_path / "lora.gguf", lora(model))
        names = set(contents(moved(model, adapter, mixed)))
        assert {int(name.split(".")[1]) for name in names} == positions
        assert set(contents(moved(model, adapter, mixed, number))) == names
        told = f"as model {1 - number} of .*: their weights differ"
        with pytest.raises(RefusedError, match=told):
            moved(model, adapter, mixed, 1 - number)
    third = fine_tune(second, tmp_path / "third.gguf")
    with pytest.raises(RefusedError, match=r"third\.gguf: their weights differ"):
        moved(third, adapter, mixed)


def test_a_number_of_another_header_is_told_those_that_fit(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    first, other = models
    tuned = fine_tune(first, tmp_path / "tuned-too.gguf", 2)  # with the header of the first
    path = LayerPath("0..1,1:1..2,2:3..4")
    mixed = gs.open(first).plan(path, others=[tuned, other]).write(tmp_path / "mixed.gguf")
    adapter = written(tmp_path / "lora.gguf", lora(first))
    for model, number, fit in (
        (first, 2, "models 0 and 1 have"),
        (first, 3, "models 0 and 1 have"),
        (other, 0, "model 2 has"),
    ):
        with pytest.raises(RefusedError, match=f"as model {number} of its layer path") as caught:
            moved(model, adapter, mixed, number)
        assert f"On that path, {fit} the header of this file" in caught.value.hint
    longer = written(tmp_path / "longer.gguf", first.read_bytes() + bytes(32))
    with pytest.raises(RefusedError, match="was not made from") as caught:
        moved(longer, adapter, mixed)
    named = [gs.open(model).file.header_sha256[:16] for model in (first, other)]
    assert all(caught.value.hint.count(digest) == 1 for digest in named)


def test_a_number_is_asked_for_where_models_have_the_same_data_too(tmp_path: Path) -> None:
    first, second = expand_two("llama-dense", tmp_path)
    alike = written(tmp_path / "alike.gguf", second.read_bytes())
    path = LayerPath("0..2,1:1..3,2:1")
    mixed = gs.open(first).plan(path, others=[second, alike]).write(tmp_path / "mixed.gguf")
    adapter = written(tmp_path / "lora.gguf", lora(second))
    with pytest.raises(SeveralNumbersError, match="models 1 and 2 of the layer path"):
        moved(second, adapter, mixed)
    names = set(contents(moved(second, adapter, mixed, 2)))
    assert {int(name.split(".")[1]) for name in names} == {6}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("llama-dense", "0..2,1..3"),
        ("qwen3-dense", "0,1..3*0.5"),
        ("qwen2-dense", "0..3,2..3*attn_q=0.5"),
        ("step35_mtp-moe", "0..7,4..7"),
    ],
)
def test_a_file_of_one_model_has_its_data(name: str, path: str, tmp_path: Path) -> None:
    """Also where biases were multiplied, and MTP blocks left out."""
    first, second = expand_two(name, tmp_path)
    left_out = name == "step35_mtp-moe"
    patched = (
        gs.open(first).plan(LayerPath(path), without_mtp=left_out).write(tmp_path / "patched.gguf")
    )
    companion = written(tmp_path / "imatrix.gguf", imatrix(first))
    assert moved(first, companion, patched).exists()
    with pytest.raises(RefusedError, match=r"second\.gguf: their weights differ"):
        moved(second, companion, patched)


def test_a_number_is_for_a_file_of_several_models(stories: Path, tmp_path: Path) -> None:
    adapter = written(tmp_path / "lora.gguf", lora(stories))
    once = gs.open(stories).plan(gs.repeat("1:3")).write(tmp_path / "once.gguf")
    with pytest.raises(UsageError, match="is over one model, which has number 0"):
        moved(stories, adapter, once, 1)
    with pytest.raises(UsageError, match="only for a patched file"):
        gs.open(stories).plan_companion(adapter, gs.repeat("1:3"), number=0)
    with pytest.raises(UsageError, match="give that file in place of a layer path"):
        gs.open(stories).plan_companion(adapter, PATH)


def test_the_base_of_an_adapter_is_that_of_its_model(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    base = pair("general.base_model.0.name", STRING, "Mistral 7B")
    adapter = written(tmp_path / "lora.gguf", lora(models[1], base))
    with pytest.raises(OtherBaseError):
        moved(models[1], adapter, mixed)


def test_weights_outside_the_blocks_follow_if_they_are_of_the_model(tmp_path: Path) -> None:
    first, second = expand_two("llama-dense", tmp_path)
    dims = {t.name: t.dims for t in gs.open(first).file.header.tensors}
    sides = {}
    for name in ("token_embd.weight", "output.weight"):
        n_in, n_out = dims[name]
        if name == "token_embd.weight":  # looked up by rows
            n_in, n_out = n_out, n_in
        a, b = (RANK, dims[name][1]), (RANK, dims[name][0])
        if name == "output.weight":
            a, b = (dims[name][0], RANK), (RANK, dims[name][1])
        sides[name] = [values(f"{name}.lora_a", *a), values(f"{name}.lora_b", *b)]
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(
        lora(
            second,
            tensors=[*lora_tensors(second), *sides["token_embd.weight"], *sides["output.weight"]],
        )
    )
    for outside in (
        OutsideBlocks(0, 1, 0),
        OutsideBlocks(1, 0, 0),
        OutsideBlocks(1, 1, 0),
        OutsideBlocks(0, 0, 1),
    ):
        plan = gs.open(first).plan(PATH, others=[second], outside=outside)
        mixed = plan.write(tmp_path / "mixed.gguf", replace=True)
        names = contents(moved(second, adapter, mixed, 1))
        assert ("token_embd.weight.lora_a" in names) == (outside.embeddings == 1)
        assert ("output.weight.lora_b" in names) == (outside.output == 1)
        (note, *lost) = gs.open(second).plan_companion(adapter, patched=mixed, number=1).notes
        assert "3 of 7" in note
        assert len(lost) == ((outside.embeddings, outside.output) != (1, 1))


def test_mtp_blocks_are_those_of_the_model_of_the_output(tmp_path: Path) -> None:
    first, second = expand_two("step35_mtp-moe", tmp_path)
    path = LayerPath("0..7,1:4..7")
    mixed = gs.open(first).plan(path, others=[second]).write(tmp_path / "mixed.gguf")
    for number, expected in ((0, set(range(8))), (1, set(range(8, 12)))):
        model = (first, second)[number]
        adapter = written(tmp_path / "lora.gguf", lora(model))
        names = contents(moved(model, adapter, mixed, number))
        found = {int(name.split(".")[1]) for name in names}
        mtp = {n for n in found if n >= len(path)}
        assert found - mtp == expected
        assert bool(mtp) == (number == 1)


def test_an_imatrix_has_no_sums_for_mtp_blocks_of_another_file(tmp_path: Path) -> None:
    source = expand_named("step35_mtp-moe", tmp_path / "source.gguf")
    bare = gs.open(source).plan(LayerPath("0..7"), without_mtp=True).write(tmp_path / "bare.gguf")
    donor = shutil.copy(source, tmp_path / "donor.gguf")
    for model, path in ((source, "0..7,4..7"), (bare, "0..7,4..7"), (bare, "0..7")):
        plan = gs.open(model).plan(LayerPath(path), mtp_from=donor)
        patched = plan.write(tmp_path / "patched.gguf", replace=True)
        about = written(tmp_path / "imatrix.gguf", imatrix(model))
        notes = gs.open(model).plan_companion(about, patched=patched).notes
        assert sum("no sums for MTP blocks, which come from" in note for note in notes) == 1
        adapter = written(tmp_path / "lora.gguf", lora(model))
        notes = gs.open(model).plan_companion(adapter, patched=patched).notes
        assert not any("MTP" in note for note in notes)
    plain = gs.open(source).plan(LayerPath("0..7,4..7")).write(tmp_path / "plain.gguf")
    without = gs.open(source).plan(LayerPath("0..7,4..7"), without_mtp=True)
    about = written(tmp_path / "imatrix.gguf", imatrix(source))
    for patched in (plain, without.write(tmp_path / "without.gguf")):
        notes = gs.open(source).plan_companion(about, patched=patched).notes
        assert not any("MTP" in note for note in notes)


def test_a_second_patch_takes_the_companion_of_the_first(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    """One with gaps too, and one with the name of a base model that is not that of the file."""
    twice = gs.open(mixed).plan(LayerPath("0,3..6,2")).write(tmp_path / "twice.gguf")
    base = pair("general.base_model.0.name", STRING, "Second")
    for data in (lora(models[1], base), imatrix(models[1])):
        companion = written(tmp_path / "companion.gguf", data)
        once = moved(models[1], companion, mixed)
        before, after = contents(once), contents(moved(mixed, once, twice))
        names = {int(name.split(".")[1]) for name in after}
        assert names == {1, 2, 3, 4}
        for name, content in after.items():
            n = int(name.split(".")[1])
            assert content == before[name.replace(f"blk.{n}.", f"blk.{n + 2}.", 1)]
        with pytest.raises(RefusedError, match="by several patches, and its layer path is that"):
            moved(models[1], companion, twice)


def test_a_file_patched_several_times_is_told_to_be_followed_patch_by_patch(
    stories: Path, tmp_path: Path
) -> None:
    adapter = written(tmp_path / "lora.gguf", lora(stories))
    once = gs.open(stories).plan(gs.repeat("1:3")).write(tmp_path / "once.gguf")
    twice = gs.open(once).plan(gs.repeat("1:2")).write(tmp_path / "twice.gguf")
    thrice = gs.open(twice).plan(gs.repeat("2:3")).write(tmp_path / "thrice.gguf")
    for patched in (twice, thrice):
        with pytest.raises(RefusedError, match="by several patches") as caught:
            moved(stories, adapter, patched)
        assert "for the file of each patch in turn" in caught.value.hint
    followed = moved(stories, adapter, once)
    for model, patched in ((once, twice), (twice, thrice)):
        followed = moved(model, followed, patched)
    assert gs.open(followed).metadata["layer_path.blocks"] == "0..2,2..7"
    tuned = with_text(stories.read_bytes(), "general.author", "x")
    other = written(tmp_path / "other.gguf", tuned)
    with pytest.raises(RefusedError, match="was not made from"):
        moved(other, written(tmp_path / "other-lora.gguf", lora(other)), twice)


def test_what_remains_nothing_of_is_refused(
    models: tuple[Path, Path], mixed: Path, tmp_path: Path
) -> None:
    vectors = written(tmp_path / "vectors.gguf", control_vectors(models[1], [4]))
    with pytest.raises(RefusedError, match="leaves out all blocks"):
        moved(models[1], vectors, mixed)
    first = gs.open(models[0]).plan(LayerPath("1:1..3,0..2"), others=[models[1]])
    turned = first.write(tmp_path / "turned.gguf")
    with pytest.raises(RefusedError, match="block 1 runs first on this layer path"):
        moved(models[1], written(tmp_path / "v.gguf", control_vectors(models[1], [1])), turned)
    of_first = control_vectors(models[0], [1, 2])
    found = contents(moved(models[0], written(tmp_path / "w.gguf", of_first), turned))
    assert set(found) == {"direction.4", "direction.5"}


def test_strengths_of_the_other_model_do_no_harm(models: tuple[Path, Path], tmp_path: Path) -> None:
    path = LayerPath("0..2,1:1..3*0.5")
    mixed = gs.open(models[0]).plan(path, others=[models[1]]).write(tmp_path / "mixed.gguf")
    moved(models[0], written(tmp_path / "a.gguf", lora(models[0])), mixed)
    with pytest.raises(RefusedError, match="has a strength or a factor on this layer path"):
        moved(models[1], written(tmp_path / "b.gguf", lora(models[1])), mixed)


def test_drafts_read_the_states_behind_blocks_of_their_target(tmp_path: Path) -> None:
    first, second = expand_two("qwen3-dense", tmp_path)
    path = LayerPath("0..4,1:2..5,1:4..7")
    mixed = gs.open(first).plan(path, others=[second]).write(tmp_path / "mixed.gguf")
    draft = written(tmp_path / "draft.gguf", eagle3(second, (3, 5, 6)))
    found = gs.open(moved(second, draft, mixed, 1))
    assert found.metadata["eagle3.target_layers"] == [6, 10, 11]
    for number, layers, told in (
        (1, (0, 3, 5), "reads the embeddings, which come from another model on this path"),
        (1, (1, 3, 5), "reads the output of block 0, which the layer path leaves out"),
        (0, (3, 5, 8), "reads the output of block 7, which the layer path leaves out"),
    ):
        model = (first, second)[number]
        draft = written(tmp_path / "draft.gguf", eagle3(model, layers))
        with pytest.raises(RefusedError, match=told):
            moved(model, draft, mixed, number)
    draft = written(tmp_path / "draft.gguf", eagle3(first, (0, 3, 5)))
    assert gs.open(moved(first, draft, mixed, 0)).metadata["eagle3.target_layers"] == [0, 3, 5]


def test_drafts_need_the_vocabulary_of_their_target(stories: Path, tmp_path: Path) -> None:
    tuned = fine_tune(stories, tmp_path / "tuned.gguf")
    second = with_byte_tokens(tuned, tmp_path / "second.gguf", "gpt-2")
    draft = written(tmp_path / "draft.gguf", eagle3(second, (2, 4, 4)))
    for tokenizer in (0, 1):
        outside = OutsideBlocks(0, 1, tokenizer)
        plan = gs.open(stories).plan(PATH, others=[second], outside=outside)
        mixed = plan.write(tmp_path / "mixed.gguf", replace=True)
        if tokenizer:
            found = gs.open(moved(second, draft, mixed)).metadata["eagle3.target_layers"]
            assert found == [4, 6, 6]
        else:
            with pytest.raises(RefusedError, match="they have different vocabularies"):
                moved(second, draft, mixed)
