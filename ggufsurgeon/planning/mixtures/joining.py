"""Several models as one: a model in shards, which are the files of all of them.

Its blocks are those of all trunks, model 0's first, and the MTP blocks of one model behind them;
its tensors outside the blocks are those that the new file has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header, TensorInfo
from ggufsurgeon.container.layout import Layout
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import Blocks
from ggufsurgeon.rules.mixtures.outside_sources import OutsideTensor


@dataclass(frozen=True)
class Joined:
    """The joined model, and a path over it."""

    file: GgufFile
    """Its `files` are those of all models, one model behind the other."""
    blocks: Blocks
    path: LayerPath
    """With MTP blocks."""


def join(
    files: Sequence[GgufFile],
    blocks: Mapping[int, Blocks],
    header: Header,
    outside: Sequence[OutsideTensor],
    path: LayerPath,
    mtp_of: int,
) -> Joined:
    """Join the models that `blocks` has, by their indices among `files`; others give no tensors.

    `path` is over `files`, with the MTP blocks of model `mtp_of` behind it. `header` has the pairs
    of the new file as they are before blocks of it are moved.
    """
    numbers = _numbers(blocks, mtp_of)
    shards = tuple(
        shard
        for n, file in enumerate(files)
        for shard in _with_names(file, _new_names(file, numbers.get(n, {}), n, outside))
    )
    tensors = tuple(tensor for shard in shards for tensor in shard.header.tensors)
    sizes = tuple(size for shard in shards for size in shard.layout.tensor_n_bytes)
    start, n_bytes = files[0].layout.data_start, sum(sizes)
    file = replace(
        files[0],
        header=replace(header, tensors=tensors),
        layout=Layout(start, sizes, n_bytes, start + n_bytes),
        odd_padding=(),
        shards=shards,
    )
    steps = (step.at(0, numbers[step.source][step.block]) for step in path.steps)
    n_blocks = sum(map(len, numbers.values()))
    return Joined(file, _grouped(tensors, n_blocks, blocks[mtp_of].n_mtp), LayerPath(steps))


def _numbers(blocks: Mapping[int, Blocks], mtp_of: int) -> dict[int, dict[int, int]]:
    """For each model the numbers that its blocks have in the joined one; others are left out."""
    numbers, end = {}, 0
    for n, each in blocks.items():
        numbers[n] = {block: end + block for block in range(each.n_trunk)}
        end += each.n_trunk
    mtp = blocks[mtp_of]
    numbers[mtp_of] |= {mtp.n_trunk + k: end + k for k in range(mtp.n_mtp)}
    return numbers


def _new_names(
    file: GgufFile, numbers: dict[int, int], source: int, outside: Sequence[OutsideTensor]
) -> list[list[str]]:
    """The names of each tensor in the joined model: none, one, or two for tied embeddings."""
    names: list[list[str]] = []
    for tensor in file.header.tensors:
        block = block_of(tensor.name)
        known = block is not None and block in numbers
        names.append([renumber(tensor.name, numbers[block])] if known and block is not None else [])
    for each in outside:
        if each.source == source:
            names[each.tensor].append(each.name)
    return names


def _with_names(file: GgufFile, names: Sequence[Sequence[str]]) -> Iterator[GgufFile]:
    """The files of a model, with these names for their tensors."""
    start = 0
    for shard in file.files:
        found: list[tuple[TensorInfo, int]] = []
        for tensor, size, new in zip(
            shard.header.tensors, shard.layout.tensor_n_bytes, names[start:], strict=False
        ):
            found += [(replace(tensor, name=name), size) for name in new]
        start += len(shard.header.tensors)
        header = replace(shard.header, tensors=tuple(tensor for tensor, _ in found))
        layout = replace(shard.layout, tensor_n_bytes=tuple(size for _, size in found))
        yield replace(shard, header=header, layout=layout)


def _grouped(tensors: Sequence[TensorInfo], n_blocks: int, n_mtp: int) -> Blocks:
    of_block: list[list[int]] = [[] for _ in range(n_blocks)]
    for index, tensor in enumerate(tensors):
        block = block_of(tensor.name)
        if block is not None:
            of_block[block].append(index)
    return Blocks(tuple(map(tuple, of_block)), n_mtp)
