"""llama.cpp's own cases of broken files are refused or read as by its reader, except for the cases
of the table that give a reason."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ggufsurgeon.container.ggml_types import type_size
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import MalformedFileError
from ggufsurgeon.rules.whole_models.reader_limits import check_llama_cpp_reads
from tests.container.llama_cpp_cases import (
    CASES,
    MOST,
    REFUSED,
    SHOWN,
    TAKEN,
    TOO_LONG,
    Case,
    any_pairs,
    any_tensors,
)
from tests.container.llama_cpp_reader import HEADER, Reader, library, running
from tests.models.builders import gguf

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[Reader]:
    found = library()
    if found is None:
        pytest.skip("needs the llama extra")
    with running(found) as reader:
        yield reader


def verdict(path: Path) -> str:
    """What is done with a file that has no blocks: they are another matter than the format."""
    try:
        file = open_gguf(path)
    except MalformedFileError:
        return REFUSED
    try:
        check_llama_cpp_reads(file)
    except MalformedFileError:
        return SHOWN
    return TAKEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case(write: Write, llama_cpp: Reader, case: Case) -> None:
    path = write(case.data)
    assert llama_cpp.takes(path, case.depth) is case.llama_cpp_takes
    assert verdict(path) == case.ours
    assert bool(case.why) == (case.ours != (TAKEN if case.llama_cpp_takes else REFUSED))


@pytest.mark.parametrize("name", TOO_LONG)
def test_more_than_a_gigabyte(tmp_path: Path, llama_cpp: Reader, name: str) -> None:
    """Refused without reading it; the file is a hole that takes no space."""
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(TOO_LONG[name])
        file.truncate(2 * MOST)
    assert not llama_cpp.takes(path, HEADER)
    with pytest.raises(MalformedFileError, match=f"than {MOST} (bytes|elements)"):
        open_gguf(path)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A small file with a few bytes of its header changed, and room behind its data."""
    made = random.Random(draw(st.integers(0, 2**32)))
    data = bytearray(gguf(any_pairs(made, 3), any_tensors(made, 3)) + bytes(1 << 16))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(4, 500))] = draw(st.sampled_from([0, 1, 2, 9, 13, 64, 128, 255]))
    return bytes(data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damaged_files())
def test_damaged_files(write: Write, llama_cpp: Reader, data: bytes) -> None:
    path = write(data)
    assert llama_cpp.takes(path, HEADER) == (verdict(path) == TAKEN) or is_in_the_table(path)


def is_in_the_table(path: Path) -> bool:
    """Whether one of the table's reasons explains another verdict."""
    try:
        header = open_gguf(path).header
    except MalformedFileError as error:
        return "behind the end of the file" in str(error) or "duplicate tensor" in str(error)
    return header.byte_order == ">" or any(not type_size(each.type_id) for each in header.tensors)
