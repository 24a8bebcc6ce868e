"""Files that are no whole model: one clear message, the right exit code, nothing written."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch
from tests.cli.failing import Unchanged, assert_told
from tests.conftest import Run
from tests.models.builders import (
    ARRAY,
    F32,
    I32,
    STRING,
    U8,
    U32,
    U64,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
    string,
)
from tests.writing.powerless import run_powerless

Write = Callable[..., Path]
PATH = LayerPath.of([0, 1, 1, 2])
MODEL = llama_model(3)
HUGE = 2**63 - 1
HEAD_COUNT_KV = "llama.attention.head_count_kv"


class Bad(NamedTuple):
    """A file, what the message must say of it, and a path when another one is to be told off."""

    name: str
    data: bytes
    says: str
    path: LayerPath = PATH


def model(*pairs: bytes, n_blocks: int = 3, tensors: list[Tensor] | None = None) -> bytes:
    return gguf([*llama_pairs(n_blocks), *pairs], tensors or block_tensors(3))


def with_block_count(*block_count: bytes) -> bytes:
    return gguf([*llama_pairs(3)[:2], *block_count], block_tensors(3))


def array_of(kind: int, length: int) -> bytes:
    """A pair with an array that ends where the file does, whatever its length says."""
    return string("llama.long") + struct.pack("<IIQ", ARRAY, kind, length)


MALFORMED = [
    Bad("empty", b"", "empty"),
    Bad("not-a-gguf", b"PK\3\4" + bytes(600), "not a GGUF"),
    Bad("text", b"GGML is the older one\n" * 9, "not a GGUF"),
    Bad("version-1", gguf(llama_pairs(3), block_tensors(3), version=1), "found 1"),
    Bad("version-4", gguf(llama_pairs(3), block_tensors(3), version=4), "found 4"),
    Bad("pairs-2^63", gguf(llama_pairs(3), n_pairs=HUGE), f"{HUGE} key-value pairs"),
    Bad("pairs-2^64", gguf(llama_pairs(3), n_pairs=2**64 - 1), "key-value pairs"),
    Bad("tensors-2^63", gguf(llama_pairs(3), n_tensors=HUGE), f"{HUGE} tensor infos"),
    Bad("tensors-2^64", gguf(llama_pairs(3), n_tensors=2**64 - 1), "tensor infos"),
    Bad("one-pair-more", gguf(llama_pairs(3), block_tensors(3), n_pairs=4), "llama.gguf"),
    Bad("one-tensor-more", gguf(llama_pairs(3), block_tensors(3), n_tensors=9), "llama.gguf"),
    Bad("long-array", gguf([array_of(U32, HUGE)]), "llama.long"),
    Bad("long-strings", gguf([array_of(STRING, 2**64 - 1)]), "llama.long"),
    Bad("long-arrays", gguf([array_of(ARRAY, 2**62)]), "llama.long"),
    Bad("longer-than-the-file", gguf([array_of(U8, 1000)]), "1000"),
    Bad("key-twice", model(pair("general.name", STRING, "b")), "duplicate key 'general.name'"),
    Bad("tensor-twice", model(tensors=block_tensors(3) * 2), "duplicate tensor"),
    Bad("overlap", model(tensors=[*block_tensors(3), Tensor("over", offset=0)]), "'over'"),
    Bad("gap", model(tensors=[*block_tensors(3), Tensor("gap", offset=512)]), "'gap'"),
    Bad(
        "out-of-order",
        model(tensors=[Tensor("a", offset=32), Tensor("b", offset=0), *block_tensors(3)]),
        "'a' has offset 32",
    ),
    Bad("offset-2^64", model(tensors=[Tensor("a", offset=2**64 - 32)]), "'a' has offset"),
    Bad("dims-2^62", model(tensors=[Tensor("a", (2**62, 2**62))]), "'a' ends"),
    Bad("dims-2^64", model(tensors=[Tensor("a", (2**63, 0))]), f"dimension of {2**63} elements"),
    Bad("nested", model(pair("odd.list", ARRAY, (ARRAY, [(U8, [1])]))), "an array of arrays"),
    Bad("array-of-what", model(pair("odd.list", ARRAY, (99, []))), "the unknown type 99"),
    Bad("long-name", model(tensors=[*block_tensors(3), Tensor("n" * 64)]), "name of 64 bytes"),
    Bad("no-block-count", with_block_count(), "llama.block_count is missing"),
    Bad("block-count-i32", with_block_count(pair("llama.block_count", I32, 3)), "INT32"),
    Bad("block-count-u64", with_block_count(pair("llama.block_count", U64, 3)), "UINT64"),
    Bad("block-count-text", with_block_count(pair("llama.block_count", STRING, "3")), "STRING"),
    Bad("hole", model(tensors=block_tensors(3, skip=[1])), "block 1 has no tensors"),
    Bad("headless", model(tensors=block_tensors(3, skip=[0])), "block 0 has no tensors"),
    Bad("beyond", model(n_blocks=2), "block 2 is beyond it"),
    Bad("short", model(n_blocks=4), "block 3 has no tensors"),
    Bad("far-too-many", model(n_blocks=2**32 - 1), "block 3 has no tensors"),
]  # fmt: skip

REFUSED = [
    Bad(
        "architecture",
        gguf(
            [pair("general.architecture", STRING, "odd"), pair("odd.block_count", U32, 3)],
            block_tensors(3),
        ),
        "'odd' is not in this version's table",
    ),
    Bad("array", model(pair("llama.odd", ARRAY, (U32, [1, 2, 3]))), "does not know"),
    Bad("adapter", model(pair("general.type", STRING, "adapter")), "an adapter (LoRA)"),
    Bad("odd-array", model(pair(HEAD_COUNT_KV, ARRAY, (U32, [1, 2]))), "2 elements for 3"),
]

NO_MODELS = [
    Bad(
        "lora",
        gguf(
            [*llama_pairs(3)[:1], pair("general.type", STRING, "adapter")],
            [Tensor("blk.0.attn_q.weight.lora_a"), Tensor("blk.0.attn_q.weight.lora_b")],
        ),
        "an adapter (LoRA)",
    ),
    Bad(
        "mmproj",
        gguf(
            [pair("general.architecture", STRING, "clip"), pair("general.type", STRING, "mmproj")],
            [Tensor("v.blk.0.attn_q.weight")],
        ),
        "a projector of images",
    ),
]
"""As they are found in the wild: with no whole set of blocks."""
NO_ARCHITECTURE = Bad("none", gguf([], block_tensors(3)), "general.architecture is missing")

REFUSED_PATHS = [
    Bad(
        "first-element",
        model(pair(HEAD_COUNT_KV, ARRAY, (U32, [2, 1, 2]))),
        "which would become block 0",
        LayerPath.of([1, 2]),
    ),
    Bad("513-blocks", MODEL, "513 blocks", LayerPath.of([0, 1, 2] * 171)),
]


def told(bad: Bad, path: Path, kind: type[GgufSurgeonError]) -> GgufSurgeonError:
    """The error that a patch of a bad file raises, when it is all that happens."""
    with Unchanged(path.parent), pytest.raises(kind) as caught:
        patch(path, path.parent / "new.gguf", LayerPath(str(bad.path)))
    assert bad.says in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: bad.name)
def test_malformed(write: Write, bad: Bad) -> None:
    path = write(bad.data, "llama.gguf")
    error = told(bad, path, MalformedFileError)
    assert error.exit_code == 3
    assert str(path) in str(error)


@pytest.mark.parametrize("bad", REFUSED + REFUSED_PATHS, ids=lambda bad: bad.name)
def test_refused(write: Write, bad: Bad) -> None:
    error = told(bad, write(bad.data, "llama.gguf"), RefusedError)
    assert (error.exit_code, error.state) == (4, "Nothing was written.")


@pytest.mark.parametrize("bad", MALFORMED + REFUSED, ids=lambda bad: bad.name)
def test_inspect_says_the_same(write: Write, bad: Bad) -> None:
    """A file that can be read can be looked at, and says why it cannot be patched."""
    path = write(bad.data, "llama.gguf")
    try:
        assert bad.says in (gs.open(path).inspect().refusal or "")
    except MalformedFileError as error:
        assert bad.says in str(error)


@pytest.mark.parametrize("bad", NO_MODELS, ids=lambda bad: bad.name)
def test_parts_and_companions_are_named_as_such(write: Write, bad: Bad) -> None:
    path = write(bad.data)
    told(bad, path, RefusedError)
    assert bad.says in (gs.open(path).inspect().refusal or "")


def test_no_architecture(write: Write) -> None:
    path = write(NO_ARCHITECTURE.data)
    told(NO_ARCHITECTURE, path, MalformedFileError)
    assert NO_ARCHITECTURE.says in (gs.open(path).inspect().refusal or "")


def test_a_model_without_blocks_can_be_inspected(write: Write) -> None:
    data = model(n_blocks=0, tensors=[Tensor("token_embd.weight")])
    assert gs.open(write(data)).inspect().refusal


def test_a_block_number_of_any_length(write: Write) -> None:
    data = model(tensors=[*block_tensors(3), Tensor(f"blk.{'1' * 5000}.ffn.weight")])
    path = write(data)
    with suppress(GgufSurgeonError):  # a refusal or a tensor that is no block's: both are sound
        patch(path, path.parent / "new.gguf", PATH)


def test_digits_that_only_python_knows(write: Write) -> None:
    tensors = [Tensor(f"blk.{n}.ffn.weight") for n in range(14)]
    path = write(model(n_blocks=14, tensors=[*tensors, Tensor("blk.1\u0663.ffn.weight")]))
    patch(path, path.parent / "new.gguf", LayerPath.of([*range(14), 0]))
    assert gs.open(path.parent / "new.gguf").inspect().refusal is None


def test_a_parameter_count_too_large_for_its_type_gets_a_wider_one(write: Write) -> None:
    tensors = [Tensor(f"blk.{n}.ffn.weight", (100,), bytes(400)) for n in range(3)]
    path = write(model(pair("general.parameter_count", U8, 255), tensors=tensors))
    patch(path, path.parent / "new.gguf", PATH)
    header = gs.open(path.parent / "new.gguf").inspect().file.header
    assert header.get("general.parameter_count") == 100 * len(PATH)


def test_nan_stays_what_it_was(write: Write) -> None:
    path = write(model(pair("llama.swiglu_clamp_exp", ARRAY, (F32, [float("nan")] * 3))))
    patch(path, path.parent / "new.gguf", LayerPath.identity(3))
    assert (path.parent / "new.gguf").read_bytes() == path.read_bytes()


def test_cut_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    for n_bytes in range(len(MODEL)):
        path.write_bytes(MODEL[:n_bytes])
        with pytest.raises(MalformedFileError) as caught:
            patch(path, tmp_path / "new.gguf", PATH)
        assert caught.value.exit_code == 3
        assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n_bytes", [0, 30, len(MODEL) - 1])
def test_the_program_on_a_file_that_is_cut(
    write: Write, tmp_path: Path, surgeon: Run, n_bytes: int
) -> None:
    write(MODEL[:n_bytes], "cut.gguf")
    with Unchanged(tmp_path):
        assert_told(surgeon("patch", "cut.gguf", "new.gguf", "--window", "1:2"), 3, "cut.gguf")


BY_NAME = {bad.name: bad for bad in MALFORMED + REFUSED}


@pytest.mark.parametrize(
    ("name", "code"),
    [("pairs-2^63", 3), ("hole", 3), ("adapter", 4)],
)
def test_the_program_on_bad_files(
    write: Write, tmp_path: Path, surgeon: Run, name: str, code: int
) -> None:
    write(BY_NAME[name].data, "bad.gguf")
    with Unchanged(tmp_path):
        done = surgeon("patch", "bad.gguf", "new.gguf", "--window", "1:2")
        assert_told(done, code, BY_NAME[name].says)
    assert ("Nothing was written." in done.stderr) == (code == 4)


def a_folder(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    assert not path.exists()


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


NO_FILES = [
    (nothing, "No such file"),
    (a_dangling_link, "No such file"),
    (a_folder, "a folder"),
]


@pytest.mark.parametrize(
    ("make", "says"), NO_FILES, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(tmp_path / "source")
    error = told(Bad("", b"", says), tmp_path / "source", UsageError)
    assert error.exit_code == 2


def test_the_program_does_not_wait_for_a_pipe(tmp_path: Path, surgeon: Run) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Unchanged(tmp_path):
        done = surgeon("patch", "pipe", "new.gguf", "--window", "1:2", timeout=20)
        assert_told(done, 2, "not a regular file")


def test_the_program_without_permission_to_read(write: Write, tmp_path: Path) -> None:
    write(MODEL, "secret.gguf").chmod(0o000)
    done = run_powerless("patch", "secret.gguf", "new.gguf", "--window", "1:2", cwd=tmp_path)
    assert_told(done, 2, "secret.gguf: cannot be opened: Permission denied")


def test_permission_is_what_was_missing(write: Write, tmp_path: Path) -> None:
    path = write(MODEL, "secret.gguf")
    arguments = ("patch", "secret.gguf", "new.gguf", "--window", "1:2")
    path.chmod(0o000)
    assert run_powerless(*arguments, cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == [path]
    path.chmod(0o600)
    assert run_powerless(*arguments, cwd=tmp_path).returncode == 0


def test_what_is_replaced_need_not_be_readable(write: Write, tmp_path: Path) -> None:
    write(MODEL)
    write(b"old", "new.gguf").chmod(0o200)
    arguments = ("patch", "model.gguf", "new.gguf", "--window", "1:2", "--replace")
    assert run_powerless(*arguments, cwd=tmp_path).returncode == 0
