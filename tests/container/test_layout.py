"""Extents of tensors, against gguf's table, llama.cpp's rules and gguf-py's reader."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf.constants import GGML_QUANT_SIZES

from ggufsurgeon.container.ggml_types import OF_GGML, tensor_n_bytes, type_name
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError, UsageError
from tests.models.builders import U32, Tensor, gguf, pair

Write = Callable[..., Path]


def test_sizes_are_ggufs_for_every_type_but_those_of_ggml() -> None:
    for kind, (n_elements, n_bytes) in GGML_QUANT_SIZES.items():
        if int(kind) in OF_GGML:
            continue
        assert tensor_n_bytes((2 * n_elements, 3, 5), int(kind)) == 2 * 3 * 5 * n_bytes
        assert type_name(int(kind)) == kind.name


def test_data_is_where_gguf_py_finds_it(smollm2: Path) -> None:
    from gguf import GGUFReader

    file = open_gguf(smollm2)
    for index, theirs in enumerate(GGUFReader(smollm2, "r").tensors):
        assert file.offset_in_file(index) == theirs.data_offset
        assert file.layout.tensor_n_bytes[index] == theirs.n_bytes


def test_an_unknown_type_reaches_to_the_next_tensor(write: Write) -> None:
    tensors = [Tensor("a", kind=200), Tensor("b"), Tensor("c", kind=201, data=b"x" * 40)]
    file = open_gguf(write(gguf([], tensors)))
    assert file.layout.tensor_n_bytes == (32, 32, 64)
    assert type_name(200) == "type-200"


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ([Tensor("a"), Tensor("b", offset=0)], "'b' has offset 0 in the data section, expected 32"),
        ([Tensor("a"), Tensor("b", offset=64)], "'b' has offset 64"),
        ([Tensor("a", offset=32), Tensor("b", offset=0)], "'a' has offset 32"),
        ([Tensor("a", kind=200), Tensor("b", offset=0)], "'a', of unknown type 200, has no room"),
        ([Tensor("a", (9,))], "'a' ends 4 bytes behind the end of the file"),
        ([Tensor("a", (2**40, 2**20))], "behind the end of the file"),
        ([Tensor("a", (31,), kind=2)], "rows of 31 elements are not whole Q4_0 blocks of 32"),
    ],
)
def test_bad_extents_are_malformed(write: Write, tensors: list[Tensor], says: str) -> None:
    with pytest.raises(MalformedFileError, match=says):
        open_gguf(write(gguf([], tensors)))


def test_an_absurd_alignment_costs_nothing(write: Write) -> None:
    data = gguf([pair("general.alignment", U32, 2**31)], [Tensor("a")])
    with pytest.raises(MalformedFileError, match="behind the end"):
        open_gguf(write(data))


def test_what_is_no_regular_file_is_a_usage_error(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for name, says in (("", "a folder"), ("absent", "No such file"), ("pipe", "not a regular")):
        with pytest.raises(UsageError, match=says) as caught:
            open_gguf(tmp_path / name)
        assert ("convert_hf_to_gguf.py" in caught.value.hint) == (says == "a folder")


def test_an_empty_file_is_malformed(write: Write) -> None:
    with pytest.raises(MalformedFileError, match="empty"):
        open_gguf(write(b""))


def test_data_that_end_in_zeros_are_seen(write: Write) -> None:
    def ends_in_zeros(data: bytes) -> bool:
        return open_gguf(write(gguf([], [Tensor("a", (1200,), data)]))).ends_in_zeros

    assert ends_in_zeros(b"x" * 700 + bytes(4100))
    assert not ends_in_zeros(b"x" * 706 + bytes(4094))
    assert not ends_in_zeros(bytes(4799) + b"x")
    assert not open_gguf(write(gguf([], [Tensor("a", (8,), bytes(32))]))).ends_in_zeros


@pytest.mark.parametrize(
    ("dims", "n_zero", "is_unfinished"),
    [
        ([(64, 20), (1200,)], 1, False),
        ([(64, 20), (64, 20)], 1, False),
        ([(64, 20), (30,), (1200,), (40,)], 3, False),
        ([(64, 20), (64, 20), (1200,)], 2, True),
        ([(64, 20), (1200,)], 2, True),
    ],
)
def test_whole_tensors_of_zeros_are_no_unfinished_download(
    write: Write, dims: list[tuple[int, ...]], n_zero: int, is_unfinished: bool
) -> None:
    n_filled = len(dims) - n_zero
    for n_missing in (0, 128):  # the second download stops before the end of a tensor
        tensors = []
        for n, shape in enumerate(dims):
            n_bytes = 4 * math.prod(shape)
            n_kept = 0 if n >= n_filled else n_bytes - n_missing * (n == n_filled - 1)
            tensors.append(Tensor(f"t{n}", shape, (b"x" * n_kept).ljust(n_bytes, b"\0")))
        found = open_gguf(write(gguf([], tensors))).ends_in_zeros
        assert found == (is_unfinished or n_missing > 0)


def test_a_huge_tensor_of_zeros_is_not_read(tmp_path: Path) -> None:
    """Opening a source of 400 GB takes no time that grows with its size."""
    path = tmp_path / "huge.gguf"
    shape = (1 << 18, 400_000)
    path.write_bytes(gguf([], [Tensor("a", (8,)), Tensor("b", shape, bytes(32))]))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 32 + 4 * math.prod(shape))
    code = "import resource, sys; from ggufsurgeon.container.gguf_file import open_gguf; "
    code += "resource.setrlimit(resource.RLIMIT_CPU, (5, 5)); "
    code += "print(open_gguf(sys.argv[1]).ends_in_zeros)"
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert ran.stdout == "False\n"
