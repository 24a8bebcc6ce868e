"""Whether a patched file holds the data of a model, by a sample of each tensor.

Headers do not tell that: fine-tunes of one base often have the same header, and other weights.
"""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.architectures.outside import is_before, is_behind
from ggufsurgeon.companions.kinds import BaseModel
from ggufsurgeon.companions.target import Target
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.joined_bytes import opened_bytes
from ggufsurgeon.hashing.whole_file import region_of
from ggufsurgeon.layer_path.path import BlockRef
from ggufsurgeon.locating.locate import is_remote
from ggufsurgeon.rules.block_names import renumber
from ggufsurgeon.rules.strengths import scales_of

SAMPLE_N_BYTES = 1 << 16
"""Read from the middle of each tensor; smaller ones are read whole."""


def has_data_of(target: Target, base: BaseModel) -> bool:
    """Whether the file of `target` has data of `base` where its record says so.

    True where they cannot be compared: of a model on the Hub only the header was read. Raises
    UsageError when one of the files cannot be read.
    """
    patched, source = target.file, base.file
    if patched is None or is_remote(patched) or is_remote(source):
        return True
    index_of = {tensor.name: index for index, tensor in enumerate(patched.header.tensors)}
    with opened_bytes(source) as old, opened_bytes(patched) as new:
        for name, index in _copied(target, base):
            found = index_of.get(name)
            if found is None or new.read(*_sample(patched, found)) != old.read(
                *_sample(source, index)
            ):
                return False
    return True


def _sample(file: GgufFile, tensor: int) -> tuple[int, int]:
    """Where the sample of a tensor starts in the bytes of its model, and how many they are."""
    start, n_bytes = region_of(file, tensor)
    n_sampled = min(n_bytes, SAMPLE_N_BYTES)
    return start + (n_bytes - n_sampled) // 2, n_sampled


def _copied(target: Target, base: BaseModel) -> Iterator[tuple[str, int]]:
    """Names of tensors that the patched file has from the model, and their indices in the model.

    They are those of the first run of each block, without any that a strength or a factor
    multiplies, and those of the sides of the blocks that are the model's.
    """
    tensors = base.file.header.tensors
    runs: dict[int, tuple[int, BlockRef]] = {}
    for position, step in enumerate(target.path.steps):
        if step.source == target.number:
            runs.setdefault(step.block, (position, step))
    for block, (position, step) in runs.items():
        scales = scales_of(base.file.header, base.blocks, step)
        multiplied = {scale.source_tensor for scale in scales}
        for index in base.blocks.of_block[block]:
            if index not in multiplied:
                yield renumber(tensors[index].name, position), index
    yield from ((tensors[index].name, index) for index in _of_sides(target, base))


def _of_sides(target: Target, base: BaseModel) -> Iterator[int]:
    dims = {t.name: t.dims for t in target.file.header.tensors} if target.file else {}
    kind = base.architecture or ""
    for index, tensor in enumerate(base.file.header.tensors):
        is_of_a_side = is_before(tensor.name, kind) or is_behind(tensor.name, kind)
        # One with a slice for each block has other dimensions in the patched file.
        is_whole = dims.get(tensor.name, tensor.dims) == tensor.dims
        if is_of_a_side and is_whole and target.has(tensor.name, kind):
            yield index
