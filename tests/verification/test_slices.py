"""The structural check on tensors with a slice for each block, and that it finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.structures import comparing
from ggufsurgeon.verification.structures.structure import check_metadata, check_tensors
from tests.calls import patch
from tests.models.builders import Tensor, block_tensors
from tests.planning.test_slices import PROJECTION, TOKENS, gemma4
from tests.writing.plans import Watcher

pytestmark = pytest.mark.slow

PATH = LayerPath.of([0, 1, 2, 1, 2, 4, 3])
N_BLOCKS, N_TOKENS, SLICE_N_BYTES = 5, 7, 2 * 34
Write = Callable[..., Path]


@pytest.fixture
def source(write: Write) -> Path:
    """Q8_0 slices of 64 elements; each has bytes of its own."""
    tokens = b"".join(bytes([n] * SLICE_N_BYTES) for n in range(N_BLOCKS * N_TOKENS))
    rows = b"".join(bytes([100 + n] * 3 * 16) for n in range(N_BLOCKS))
    sliced = [
        Tensor(TOKENS, (64 * N_BLOCKS, N_TOKENS), tokens, 8),
        Tensor(PROJECTION, (4, 3 * N_BLOCKS), rows),
    ]
    return write(gemma4([*sliced, *block_tensors(N_BLOCKS)]), "source.gguf")


@pytest.fixture
def patched(source: Path) -> Path:
    path = source.with_name("patched.gguf")
    patch(source, path, PATH)
    return path


def wrong(patched: Path, source: Path, path: LayerPath = PATH) -> str:
    check = check_tensors(open_gguf(patched), open_gguf(source), path)
    return "" if check.ok else check.detail


def test_what_patch_writes_holds(source: Path, patched: Path) -> None:
    watcher = Watcher()
    files = open_gguf(patched), open_gguf(source)
    assert check_tensors(*files, PATH, watcher).ok
    assert check_metadata(*files, PATH).ok
    (step,) = watcher.steps
    assert sum(watcher.advances) == step[1] == sum(files[0].layout.tensor_n_bytes)


def test_rows_in_small_chunks(source: Path, patched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n_bytes in (1, 1200):
        monkeypatch.setattr(comparing, "CHUNK_N_BYTES", n_bytes)
        assert not wrong(patched, source)
        assert wrong(patched, source, LayerPath.of([0, 1, 2, 1, 2, 4, 4]))


@pytest.mark.parametrize("name", [TOKENS, PROJECTION])
def test_each_wrong_byte_is_found(source: Path, patched: Path, name: str) -> None:
    file = open_gguf(patched)
    index = [tensor.name for tensor in file.header.tensors].index(name)
    data, start = patched.read_bytes(), file.offset_in_file(index)
    for at in range(start, start + file.layout.tensor_n_bytes[index], 29):
        patched.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert wrong(patched, source) == f"differ from their source: {name}"


def test_slices_of_other_blocks_are_found(source: Path, patched: Path) -> None:
    names = f"{TOKENS}, {PROJECTION}"
    swapped = LayerPath.of([0, 1, 2, 1, 2, 3, 4])
    assert wrong(patched, source, swapped).startswith(f"differ from their source: {names}")


def test_slices_that_were_left_as_they_were_are_found(source: Path) -> None:
    shuffled = LayerPath.of([1, 0, 2, 3, 4])
    assert wrong(source, source, shuffled).startswith(f"differ from their source: {TOKENS}")
    assert not wrong(source, source, LayerPath.identity(N_BLOCKS))
