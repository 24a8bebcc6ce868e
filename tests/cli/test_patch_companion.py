"""`patch-companion`, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import ggufsurgeon as gs
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.container.test_other_formats import IMATRIX as OLD_IMATRIX
from tests.models.builders import STRING, Tensor, gguf, pair
from tests.models.companions import (
    control_vectors,
    imatrix,
    imatrix_tensors,
    lora,
    lora_pairs,
    values,
)
from tests.models.fine_tunes import fine_tune

WINDOW = ("--window", "1:3")
NAME = "blk.1.attn_q.weight"
BASE = "general.base_model.0.name"


def without(tensors: Sequence[Tensor], *starts: str) -> list[Tensor]:
    return [tensor for tensor in tensors if not tensor.name.startswith(starts)]


def alone(tensor: Tensor) -> Callable[[Path], bytes]:
    return lambda _: gguf(lora_pairs("llama"), [tensor])


def pair_of(name: str, n_in: int = 64, n_out: int = 64) -> Callable[[Path], bytes]:
    tensors = [values(f"{name}.lora_a", n_in, 2), values(f"{name}.lora_b", 2, n_out)]
    return lambda _: gguf(lora_pairs("llama"), tensors)


def vectors_of(*tensors: Tensor) -> Callable[[Path], bytes]:
    pairs = [pair("general.architecture", STRING, "controlvector")]
    return lambda _: gguf(pairs, tensors)


REFUSED: dict[str, tuple[Callable[[Path], bytes], tuple[str, ...], int, str]] = {
    "a model": (lambda model: model.read_bytes(), WINDOW, 4, "is no companion of a model"),
    "a projector": (
        lambda _: gguf([pair("general.architecture", STRING, "clip")]),
        WINDOW,
        4,
        "is a projector of images or sound (mmproj): what follows a layer path is",
    ),
    "another type of adapter": (
        lambda _: gguf([pair("general.type", STRING, "adapter")]),
        WINDOW,
        4,
        "is an adapter of type None: expected lora",
    ),
    "an adapter for another architecture": (
        lambda _: gguf(lora_pairs("qwen3")),
        WINDOW,
        4,
        "for the architecture 'qwen3', and model.gguf is of 'llama'",
    ),
    "a weight that is not there": (
        pair_of("blk.1.attn_qkv.weight"),
        WINDOW,
        4,
        "changes the weight 'blk.1.attn_qkv.weight', which model.gguf does not have",
    ),
    "a block that is not there": (pair_of("blk.5.attn_q.weight"), WINDOW, 4, "'blk.5.attn_q"),
    "a weight of another shape": (
        pair_of(NAME, 32),
        WINDOW,
        4,
        f"changes '{NAME}' by factors of 32x2x1 and 2x64x1, and that weight of model.gguf is 64x64",
    ),
    "factors that do not fit each other": (
        lambda _: gguf(
            lora_pairs("llama"), [values(f"{NAME}.lora_a", 64, 2), values(f"{NAME}.lora_b", 3, 64)]
        ),
        WINDOW,
        4,
        "by factors of 64x2x1 and 3x64x1",
    ),
    "half a pair": (
        alone(values(f"{NAME}.lora_a", 64, 2)),
        WINDOW,
        3,
        f"of the weight '{NAME}' there is only .lora_a or .lora_b",
    ),
    "no factor": (alone(values(NAME, 64, 64)), WINDOW, 3, "is neither .lora_a nor .lora_b"),
    "another base": (
        lambda model: lora(model, pair(BASE, STRING, "Mistral 7B")),
        WINDOW,
        4,
        "was made for 'Mistral 7B' by its metadata, and model.gguf is ",
    ),
    "nothing left of an adapter": (
        pair_of(NAME),
        ("--drop", "1:2"),
        4,
        "leaves out all blocks that companion.gguf is about",
    ),
    "an imatrix of fewer blocks": (
        lambda model: imatrix(model, tensors=without(imatrix_tensors(model), "blk.4.")),
        WINDOW,
        4,
        "has nothing on block 4 of the 5 of model.gguf",
    ),
    "an imatrix of more blocks": (
        lambda _: imatrix(
            Path(),
            tensors=[
                values("blk.5.attn_q.weight.in_sum2", 64),
                values("blk.5.attn_q.weight.counts", 1),
            ],
        ),
        WINDOW,
        4,
        "is about the weight 'blk.5.attn_q.weight', which model.gguf does not have",
    ),
    "an imatrix of other widths": (
        lambda _: imatrix(
            Path(), tensors=[values(f"{NAME}.in_sum2", 32), values(f"{NAME}.counts", 1)]
        ),
        WINDOW,
        4,
        f"has 32 sums for '{NAME}', and that weight of model.gguf takes 64",
    ),
    "an imatrix without counts": (
        lambda _: imatrix(Path(), tensors=[values(f"{NAME}.in_sum2", 64)]),
        WINDOW,
        3,
        "is not one of .in_sum2 and .counts of a weight",
    ),
    "vectors for another architecture": (
        lambda model: control_vectors(model, [1], "qwen3"),
        WINDOW,
        4,
        "has control vectors for the architecture 'qwen3', and model.gguf is of 'llama'",
    ),
    "vectors of another width": (
        vectors_of(values("direction.1", 32)),
        WINDOW,
        4,
        "has vectors of 32 numbers, and the residual stream of model.gguf has 64",
    ),
    "a vector for a block that is not there": (
        lambda model: control_vectors(model, [5]),
        WINDOW,
        4,
        "has a vector for block 5, and model.gguf has 5 blocks",
    ),
    "a vector for block 0": (
        vectors_of(values("direction.0", 64)),
        WINDOW,
        3,
        "'direction.0' is no direction.N with a block N from 1 on",
    ),
    "a matrix for a vector": (
        vectors_of(values("direction.1", 64, 2)),
        WINDOW,
        3,
        "'direction.1' is no vector of F32",
    ),
    "a vector behind the first block": (
        lambda model: control_vectors(model, [1, 2]),
        ("--layers", "1..4"),
        4,
        "block 1 runs first on this layer path, and companion.gguf has a vector for it: llama.cpp "
        "adds none behind the first block",
    ),
    "no vector left": (
        lambda model: control_vectors(model, [1]),
        ("--drop", "1:2"),
        4,
        "leaves out all blocks that companion.gguf is about",
    ),
    "a path beyond the model": (lora, ("--window", "3:9"), 2, "9"),
    "no path": (lora, (), 2, "--window, --drop, --layers and --patched: none"),
    "a path and a patched model": (
        lora,
        (*WINDOW, "--patched", "model.gguf"),
        2,
        "--patched gives the layer path",
    ),
    "an unpatched model": (lora, ("--patched", "model.gguf"), 4, "model.gguf records no patch"),
    "a model that was patched twice": (
        lora,
        ("--patched", "twice.gguf"),
        4,
        "twice.gguf was made from model.gguf by several patches",
    ),
    "a companion cut short": (lambda model: lora(model)[:3000], WINDOW, 3, "companion.gguf, at"),
    "an imatrix in the old form": (
        lambda _: OLD_IMATRIX,
        WINDOW,
        3,
        "llama-imatrix convert it to a GGUF",
    ),
    "no GGUF": (lambda _: b"text", WINDOW, 3, "companion.gguf"),
}


@pytest.fixture
def model(stories: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "model.gguf"
    copied.write_bytes(stories.read_bytes())
    return copied


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, model: Path, tmp_path: Path, surgeon: Run) -> None:
    make, path, code, says = REFUSED[case]
    (tmp_path / "companion.gguf").write_bytes(make(model))
    if "twice.gguf" in path:
        once = gs.open(model).plan(gs.repeat("1:3")).write(tmp_path / "once.gguf")
        gs.open(once).plan(gs.repeat("1:3")).write(tmp_path / "twice.gguf")
    with Unchanged(tmp_path):
        done = surgeon(
            "patch-companion", "companion.gguf", "new.gguf", "--source", model.name, *path
        )
        assert_told(done, code, says)


def test_an_adapter_is_written(model: Path, tmp_path: Path, surgeon: Run) -> None:
    (tmp_path / "lora.gguf").write_bytes(lora(model))
    command = ("patch-companion", "lora.gguf", "new.gguf", "--source", "model.gguf")
    done = surgeon(*command, *WINDOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "wrote new.gguf: a LoRA adapter for layer path 0..2,1..4, 71.97 kB\n"
    written = (tmp_path / "new.gguf").read_bytes()
    with Unchanged(tmp_path):
        assert_told(surgeon(*command, *WINDOW), 4, "new.gguf exists")
    assert surgeon("patch", "model.gguf", "patched.gguf", *WINDOW).returncode == 0
    assert surgeon(*command, "--patched", "patched.gguf", "--replace").returncode == 0
    assert (tmp_path / "new.gguf").read_bytes() == written


@pytest.mark.parametrize("destination", ["model.gguf", "lora.gguf", "patched.gguf"])
def test_no_file_that_is_read_is_overwritten(
    destination: str, model: Path, tmp_path: Path, surgeon: Run
) -> None:
    (tmp_path / "lora.gguf").write_bytes(lora(model))
    gs.open(model).plan(gs.repeat("1:3")).write(tmp_path / "patched.gguf")
    read = ("--source", "model.gguf", "--patched", "patched.gguf", "--replace")
    with Unchanged(tmp_path):
        done = surgeon("patch-companion", "lora.gguf", destination, *read)
        assert_told(done, 4, destination)


def test_companions_of_one_of_several_models(model: Path, tmp_path: Path, surgeon: Run) -> None:
    fine_tune(model, tmp_path / "tuned.gguf")  # with the same header
    layers = ("--layers", "0..2,1:1..3", "--with", "tuned.gguf")
    assert surgeon("patch", "model.gguf", "both.gguf", *layers).returncode == 0
    inspected = " ".join(surgeon("inspect", "both.gguf").stdout.split())
    assert "of its models to the wrong blocks" in inspected
    assert "patch-companion re-indexes them" in inspected
    (tmp_path / "lora.gguf").write_bytes(lora(tmp_path / "tuned.gguf"))
    command = ("patch-companion", "lora.gguf", "new.gguf", "--source", "tuned.gguf")
    of_both = (*command, "--patched", "both.gguf")
    with Unchanged(tmp_path):
        told = "tuned.gguf as model 0 of its layer path: their weights differ"
        assert_told(surgeon(*of_both, "--source-number", "0"), 4, told)
        assert_told(surgeon(*of_both, "--source-number", "2"), 4, "tuned.gguf as model 2 of its")
        assert_told(surgeon(*command, *WINDOW, "--source-number", "1"), 2, "--patched")
        assert_told(surgeon(*command, "--layers", "0,1:1"), 2, "give that file in place of a")
    done = surgeon(*of_both)
    assert done.returncode == 0, done.stderr
    assert "it has nothing for the 3 of 6 blocks that come from other models" in done.stderr
    assert done.stdout.startswith("wrote new.gguf: a LoRA adapter for layer path 0..2,1:1..3, ")
    told = surgeon("inspect", "new.gguf").stdout
    assert "for layer path 0..2,1:1..3, of model 1" in " ".join(told.split())
    found = json.loads(surgeon("inspect", "new.gguf", "--json").stdout)
    assert found["companion"]["base_number"] == "1"
    assert found["companion"]["blocks"] == [3, 4, 5]


def test_another_base_is_taken_when_it_is_asked_for(
    model: Path, tmp_path: Path, surgeon: Run
) -> None:
    (tmp_path / "lora.gguf").write_bytes(lora(model, pair(BASE, STRING, "Mistral 7B")))
    command = ("patch-companion", "lora.gguf", "new.gguf", "--source", "model.gguf", *WINDOW)
    refused = surgeon(*command)
    assert refused.returncode == 4 and "--other-base" in refused.stderr
    assert surgeon(*command, "--other-base").returncode == 0


def test_an_imatrix_is_written_with_a_note(model: Path, tmp_path: Path, surgeon: Run) -> None:
    (tmp_path / "imatrix.gguf").write_bytes(imatrix(model))
    command = ("patch-companion", "imatrix.gguf", "new.gguf", "--source", "model.gguf", *WINDOW)
    done = surgeon(*command)
    assert done.returncode == 0 and "note: its sums are those of the original's" in done.stderr
    quiet = surgeon(*command, "--replace", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_inspect_says_what_a_companion_is_and_for_which_model(
    model: Path, tmp_path: Path, surgeon: Run
) -> None:
    name = str(gs.open(model).metadata["general.name"])
    (tmp_path / "lora.gguf").write_bytes(lora(model, pair(BASE, STRING, name)))
    (tmp_path / "vectors.gguf").write_bytes(control_vectors(model, [1, 2, 4]))
    patched = surgeon("patch", "model.gguf", "patched.gguf", *WINDOW)
    assert patched.returncode == 0
    read = ("--source", "model.gguf", "--patched", "patched.gguf")
    assert surgeon("patch-companion", "lora.gguf", "new.gguf", *read).returncode == 0
    digest = json.loads(surgeon("inspect", "patched.gguf", "--json").stdout)["header_sha256"]
    told = json.loads(surgeon("inspect", "new.gguf", "--json").stdout)["companion"]
    assert told == {
        "kind": "lora",
        "architecture": "llama",
        "base_models": [name],
        "blocks": list(range(7)),
        "layer_path": "0..2,1..4",
        "patched_header_sha256": digest,
        "base_number": None,
    }
    words = surgeon("inspect", "new.gguf").stdout
    assert f"made for         {name}" in words and "about blocks     0..6" in words
    assert "for layer path 0..2,1..4" in words and digest[:16] in words
    assert "Load it with that model" in words and "Patch that model" not in words
    assert "Patch that model" in surgeon("inspect", "lora.gguf").stdout
    words = surgeon("inspect", "vectors.gguf").stdout
    assert "about blocks     1..2,4" in words and "re-indexed" not in words


def test_inspect_warns_of_the_companions_of_a_patched_model(
    model: Path, tmp_path: Path, surgeon: Run
) -> None:
    assert surgeon("patch", "model.gguf", "patched.gguf", *WINDOW).returncode == 0
    assert "to the wrong blocks" in surgeon("inspect", "patched.gguf").stdout
    assert "to the wrong blocks" not in surgeon("inspect", "model.gguf").stdout


def test_a_companion_is_not_restored(surgeon: Run, tmp_path: Path, stories: Path) -> None:
    (tmp_path / "lora.gguf").write_bytes(lora(stories))
    gs.open(stories).plan_companion(tmp_path / "lora.gguf", gs.repeat("1:3")).write(
        tmp_path / "moved.gguf"
    )
    done = surgeon("restore", "moved.gguf", "new.gguf")
    assert_told(done, 4, "moved.gguf was re-indexed for a patched model, and records the SHA-256")
    assert not (tmp_path / "new.gguf").exists()
