"""Tensors of types whose sizes gguf-py has otherwise than ggml, through a patch of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.verification.structures.structure import check_against_gguf_py
from tests.models.builders import Tensor, block_tensors, gguf, llama_pairs

Q8_1, Q2_0 = 9, 42
SIZES = {Q8_1: (32, 36), Q2_0: (64, 18)}
"""Elements and bytes of a block: `block_q8_1` and `block_q2_0`, ggml/src/ggml-common.h."""


def data_of(file: GgufFile, name: str) -> bytes:
    index = [tensor.name for tensor in file.header.tensors].index(name)
    start, n_bytes = file.offset_in_file(index), file.layout.tensor_n_bytes[index]
    return file.path.read_bytes()[start : start + n_bytes]


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_block_with_such_a_tensor_is_repeated(kind: int, is_last: bool, tmp_path: Path) -> None:
    n_elements, n_bytes = SIZES[kind]
    content = bytes(range(100, 100 + n_bytes)) * 3
    quantized = Tensor("blk.1.ffn_up.weight", (n_elements, 3), content, kind)
    others = block_tensors(3)
    tensors = [*others, quantized] if is_last else [quantized, *others]
    source = tmp_path / "source.gguf"
    source.write_bytes(gguf(llama_pairs(3), tensors))
    written = gs.open(source).plan(gs.repeat("1:2")).write(tmp_path / "patched.gguf")
    patched = open_gguf(written)
    for name in ("blk.1.ffn_up.weight", "blk.2.ffn_up.weight"):
        assert data_of(patched, name) == content
    assert check_against_gguf_py(patched).ok is not False
