"""A second model beside one: other weights, other numbers of blocks, other vocabularies."""

from __future__ import annotations

from pathlib import Path

from ggufsurgeon.architectures.outside import is_before, is_behind
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.rules.block_names import block_of
from tests.conftest import ROOT
from tests.models.expanding import expand
from tests.models.variants import vary


def expand_two(name: str, folder: Path) -> tuple[Path, Path]:
    """Two models of one header and its variants, with different weights.

    What is outside the blocks and belongs to neither side of them, as frequencies of RoPE do, is
    the same in both: models differ in that only where they cannot be mixed.
    """
    stem, _, variant = name.partition("@")
    first, second = folder / "first.gguf", folder / "second.gguf"
    for seed, path in enumerate((first, second), 1):
        expand(vary(ROOT / f"fixtures/arch_headers/{stem}.gguf", variant, path), path, seed)
    share_what_all_blocks_read(first, second)
    return first, second


def share_what_all_blocks_read(first: Path, second: Path) -> None:
    """Give the second of two models of one layout the tensors of the first that no side has."""
    file, data = open_gguf(first), first.read_bytes()
    kind = file.header.architecture or ""
    with second.open("r+b") as out:
        for index, tensor in enumerate(file.header.tensors):
            is_shared = block_of(tensor.name) is None
            if is_shared and not any(is_of(tensor.name, kind) for is_of in (is_before, is_behind)):
                at, n_bytes = file.offset_in_file(index), file.layout.tensor_n_bytes[index]
                out.seek(at)
                out.write(data[at : at + n_bytes])
