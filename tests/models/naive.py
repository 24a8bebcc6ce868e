"""What other tools do: tensors renamed and block_count changed, all else as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import make_pair, serialize_header
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.container.layout import pad
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.new_tensors.tensors import choose_tensors, place_tensors
from ggufsurgeon.rules.blocks import find_blocks


def patch_naively(source: Path, destination: Path, path: LayerPath) -> None:
    """Write the blocks of `path` without a thought for anything else."""
    file = open_gguf(source)
    key = f"{file.header.architecture}.block_count"
    count = make_pair(key, ValueType.UINT32, len(path).to_bytes(4, "little"), "<")
    pairs = tuple(count if pair.key == key else pair for pair in file.header.pairs)
    chosen = choose_tensors(file, find_blocks(file), path.blocks)
    tensors = place_tensors(file, chosen)
    raw = serialize_header(replace(file.header, pairs=pairs, tensors=tensors))
    data = source.read_bytes()
    with destination.open("wb") as out:
        out.write(raw + bytes(pad(len(raw), file.header.alignment) - len(raw)))
        for tensor in chosen:
            assert tensor.source_tensor is not None
            at = file.offset_in_file(tensor.source_tensor)
            n_bytes = file.layout.tensor_n_bytes[tensor.source_tensor]
            out.write(
                data[at : at + n_bytes] + bytes(pad(n_bytes, file.header.alignment) - n_bytes)
            )
