"""Tensors of a planned file: those that are the source's, and the spans with the data of others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ggufsurgeon.aliasing.shared_tensors import PlannedTensor, planned_tensors
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS
from ggufsurgeon.writing.span_writers.copying import Copier
from ggufsurgeon.writing.span_writers.spans import write_span
from tests.calls import patch
from tests.models.expanding import expand_named


def bytes_of(file: GgufFile) -> dict[str, bytes]:
    """The data of each tensor."""
    content = file.path.read_bytes()
    starts = map(file.offset_in_file, range(len(file.header.tensors)))
    sizes = file.layout.tensor_n_bytes
    names = (tensor.name for tensor in file.header.tensors)
    return {
        name: content[start : start + n_bytes]
        for name, start, n_bytes in zip(names, starts, sizes, strict=True)
    }


def written(tensor: PlannedTensor, source: Path, place: Path) -> bytes:
    descriptors = os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC), os.open(source, os.O_RDONLY)
    for span in tensor.spans:
        write_span(Copier(descriptors[0], NO_PROGRESS), descriptors[1:], span)
    for descriptor in descriptors:
        os.close(descriptor)
    return place.read_bytes()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("llama-dense", "0..3,2..7"),
        ("llama-dense", "0..7"),
        ("gemma4_per_layer-dense", "0..5,4..7"),
        ("gemma4_per_layer-dense", "7,0..3"),
        ("gemma3-dense@heads=1&blocks=62", "0..61,58..61"),
    ],
)
def test_spans_hold_what_is_written(name: str, path: str, tmp_path: Path) -> None:
    file = open_gguf(expand_named(name, tmp_path / "model.gguf"))
    plan = patch(file.path, tmp_path / "patched.gguf", LayerPath(path), scale_weights=True)
    before, after = bytes_of(file), bytes_of(open_gguf(tmp_path / "patched.gguf"))
    tensors = list(planned_tensors(plan.write_plan, [file]))
    assert [tensor.name for tensor in tensors] == list(after)
    for tensor in tensors:
        assert written(tensor, file.path, tmp_path / "tensor") == after[tensor.name]
        if tensor.shared_with is not None:
            assert before[tensor.shared_with.name] == after[tensor.name]


def test_a_repeated_block_shares_with_the_first(stories: Path, tmp_path: Path) -> None:
    plan = patch(stories, tmp_path / "patched.gguf", LayerPath("0..2,1..4"))
    shared = {
        tensor.name: tensor.shared_with and tensor.shared_with.name
        for tensor in planned_tensors(plan.write_plan, [open_gguf(stories)])
    }
    assert shared["blk.1.attn_q.weight"] == shared["blk.3.attn_q.weight"] == "blk.1.attn_q.weight"
    assert shared["blk.6.ffn_up.weight"] == "blk.4.ffn_up.weight"
    assert shared["token_embd.weight"] == "token_embd.weight"
    assert None not in shared.values()
