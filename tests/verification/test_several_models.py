"""Files with blocks of several models: written = routed = aliased, and what verification finds."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError, VerificationError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from tests.models.fine_tunes import fine_tune
from tests.models.second import expand_two
from tests.models.sharding import cut

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.installation.library import llama_cpp
from tests.verification.running import run_matrix

ONE_THREAD = gs.Devices(n_threads=1)
PATH = LayerPath("0..2,1:1..3,4")


@pytest.fixture(scope="module")
def second(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model of the same kind: the blocks of the first in another order."""
    path = tmp_path_factory.mktemp("second") / "second.gguf"
    return gs.open(stories).plan(LayerPath("4,2,3,0,1")).write(path)


def write(first: Path, second: Path, path: LayerPath, patched: Path) -> Path:
    return gs.open(first).plan(path, others=[second]).write(patched)


def checks(outcome: gs.Verification) -> dict[str, bool | None]:
    return {check.name: check.ok for check in outcome.checks}


@pytest.mark.parametrize("path", ["0..2,1:1..3,4", "1:0..1,2..4,1:2*0.5", "0,1:0,1,1:1,2,1:2"])
def test_a_file_of_two_models_is_proven(
    path: str, stories: Path, second: Path, tmp_path: Path
) -> None:
    patched = write(stories, second, LayerPath(path), tmp_path / "patched.gguf")
    outcome = gs.verify(patched, stories, others=[second], devices=ONE_THREAD)
    assert outcome.ok, outcome.checks
    assert "routed logits of 128 tokens equal to the bit" in outcome.proven
    assert "aliased logits of 128 tokens equal to the bit" in outcome.proven


def test_what_is_outside_the_blocks_comes_from_the_models_that_are_named(
    stories: Path, second: Path, tmp_path: Path
) -> None:
    plan = gs.open(stories).plan(PATH, others=[second], outside=OutsideBlocks(1, 1, 1))
    patched = plan.write(tmp_path / "patched.gguf")
    assert gs.verify(patched, stories, others=[second], devices=ONE_THREAD).ok


def test_shards_are_a_model_among_others(stories: Path, second: Path, tmp_path: Path) -> None:
    shards = cut(second, tmp_path / "shards", [10, 30])
    ours = write(stories, shards[1], PATH, tmp_path / "of-shards.gguf")
    theirs = write(stories, second, PATH, tmp_path / "of-file.gguf")
    assert ours.read_bytes() == theirs.read_bytes()
    assert gs.verify(ours, stories, others=[shards[0]], devices=ONE_THREAD).ok


def test_a_file_of_two_models_is_written_in_shards(
    stories: Path, second: Path, tmp_path: Path
) -> None:
    plan = gs.open(stories).plan(PATH, others=[second])
    shards = plan.write_shards(tmp_path / "new.gguf", 600_000)
    assert len(shards) > 1
    assert gs.verify(shards[0], stories, others=[second], devices=ONE_THREAD).ok


def test_a_file_that_is_given_twice_is_one_model(stories: Path, tmp_path: Path) -> None:
    twice = write(stories, stories, PATH, tmp_path / "twice.gguf")
    once = gs.open(stories).plan(LayerPath("0..2,1..4")).write(tmp_path / "once.gguf")
    assert twice.read_bytes() == once.read_bytes()


def test_the_wrong_models_are_told(stories: Path, second: Path, tmp_path: Path) -> None:
    patched = write(stories, second, PATH, tmp_path / "patched.gguf")
    other = gs.open(stories).plan(gs.drop("0:1")).write(tmp_path / "other.gguf")
    for source, further in ((second, stories), (stories, other)):
        outcome = gs.verify(patched, source, others=[further], devices=ONE_THREAD)
        assert checks(outcome) == {"source": False}
    for others in ([], [second, second]):
        with pytest.raises(UsageError, match="made from 2 models"):
            gs.verify(patched, stories, others=others, devices=ONE_THREAD)
    alone = gs.open(stories).plan(gs.repeat("1:3")).write(tmp_path / "alone.gguf")
    with pytest.raises(UsageError, match="made from one model, and 2 are given"):
        gs.verify(alone, stories, others=[second], devices=ONE_THREAD)


def test_models_of_the_same_header_are_thought_of_first(stories: Path, tmp_path: Path) -> None:
    """Before the file is called wrong: fine-tunes have the header of their base."""
    tunes = [fine_tune(stories, tmp_path / f"tuned-{seed}.gguf", seed) for seed in (1, 2)]
    path = LayerPath("0..1,1:1..2,2:3..4")
    patched = gs.open(stories).plan(path, others=tunes).write(tmp_path / "patched.gguf")
    alone = gs.open(stories).plan(gs.repeat("1:3")).write(tmp_path / "alone.gguf")
    for made, source, others, told in (
        (patched, stories, tunes[::-1], "another model or the models in another order can have"),
        (alone, tunes[0], [], "The file may be right: another model can have the same header"),
    ):
        with pytest.raises(VerificationError, match="does not hold what it claims") as caught:
            gs.verify(made, source, others=others, devices=ONE_THREAD).raise_if_failed()
        assert told in caught.value.hint
        assert caught.value.hint.index("may be right") < caught.value.hint.index("do not use it")


def test_a_changed_byte_of_either_model_is_found(
    stories: Path, second: Path, tmp_path: Path
) -> None:
    patched = write(stories, second, PATH, tmp_path / "patched.gguf")
    file, data = gs.open(patched).file, patched.read_bytes()
    for index, tensor in enumerate(file.header.tensors):
        if index % 9 == 0:
            at = file.offset_in_file(index)
            patched.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            outcome = gs.verify(patched, stories, others=[second], devices=ONE_THREAD)
            assert checks(outcome)["tensors"] is False
            assert any(tensor.name in check.detail for check in outcome.checks)


@pytest.mark.parametrize("key", ["llama.rope.freq_base", "tokenizer.ggml.bos_token_id"])
def test_changed_metadata_is_found(key: str, stories: Path, second: Path, tmp_path: Path) -> None:
    patched = write(stories, second, PATH, tmp_path / "patched.gguf")
    data = patched.read_bytes()
    pairs = gs.open(patched).file.header.pair_of
    pair = pairs.get(key) or pairs["llama.rope.dimension_count"]
    at = data.index(pair.raw) + pair.value_at
    patched.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    outcome = gs.verify(patched, stories, others=[second], devices=ONE_THREAD)
    assert checks(outcome)["metadata"] is False


def test_a_record_of_a_path_beyond_the_models_is_malformed(
    stories: Path, second: Path, tmp_path: Path
) -> None:
    patched = write(stories, second, PATH, tmp_path / "patched.gguf")
    data = patched.read_bytes()
    patched.write_bytes(data.replace(b"0..2,1:1..3,4", b"0..2,1:1..9,4"))
    with pytest.raises(MalformedFileError, match="does not fit"):
        gs.verify(patched, stories, others=[second], devices=ONE_THREAD)


@pytest.mark.parametrize("key", ["outside", "other_sources"])
def test_a_record_of_models_that_are_not_identified_is_malformed(
    key: str, stories: Path, second: Path, tmp_path: Path
) -> None:
    patched = write(stories, second, PATH, tmp_path / "patched.gguf")
    data, pair = patched.read_bytes(), gs.open(patched).file.header.pair_of[f"layer_path.{key}"]
    at = data.index(pair.raw) + pair.value_at + 8
    damaged = {"outside": b"0,9,0", "other_sources": b"x"}[key]
    patched.write_bytes(data[:at] + damaged + data[at + len(damaged) :])
    with pytest.raises((MalformedFileError, UsageError)):
        gs.verify(patched, stories, others=[second], devices=ONE_THREAD)


def test_other_frequencies_of_rope_are_refused(tmp_path: Path) -> None:
    first, second = expand_two("llama-dense", tmp_path)
    path = LayerPath("0..3,1:4..7")
    gs.open(first).plan(path, others=[second])
    file = gs.open(second).file
    index = next(n for n, t in enumerate(file.header.tensors) if t.name == "rope_freqs.weight")
    with second.open("r+b") as out:
        out.seek(file.offset_in_file(index))
        out.write(b"\x01")
    with pytest.raises(RefusedError, match=r"rope_freqs.weight, which the blocks of all models"):
        gs.open(first).plan(path, others=[second])
    gs.open(first).plan(LayerPath("0..3,4..7,2"), others=[second])


@pytest.mark.slow
def test_two_quantizations_of_a_model_interleave_exactly(smollm2: Path, tmp_path: Path) -> None:
    lib, requantized = llama_cpp(), tmp_path / "q8_0.gguf"
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = lib.LLAMA_FTYPE_MOSTLY_Q8_0, True
    names = [str(path).encode() for path in (smollm2, requantized)]
    assert lib.llama_model_quantize(*names, ctypes.byref(params)) == 0
    path = LayerPath(",".join(f"{n % 2}:{n}" for n in range(30)))
    patched = write(smollm2, requantized, path, tmp_path / "patched.gguf")
    types = {t.name: t.type_id for t in gs.open(patched).file.header.tensors}
    assert len({types[f"blk.{n}.ffn_up.weight"] for n in range(2)}) == 2
    assert "output.weight" in types  # the embeddings are those of the first, the output is not
    outcome = gs.verify(patched, smollm2, others=[requantized], devices=ONE_THREAD)
    assert outcome.ok, outcome.checks


PROGRAM = "tests.verification.mixing"
MODELS = (
    *("llama-dense", "qwen3moe-moe", "gemma3-dense", "gemma2-dense", "smollm3-dense"),
    *("openelm-dense", "deci-dense@narrow=heads", "mimo2-moe", "qwen35-dense", "gpt2-dense"),
    *("mamba2-dense", "deepseek-moe", "minicpm-dense@absent=residual_scale", "bert-dense"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_each_way_to_run_two_models_gives_the_same(name: str) -> None:
    lines = run_matrix([name], "--paths", "1", n_processes=1, program=PROGRAM)
    bad = [line for line in lines if line["status"] not in ("exact", "refused")]
    assert bad == []
    assert any(line["status"] == "exact" for line in lines)
