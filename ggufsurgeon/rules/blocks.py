"""Blocks of a model: the tensors of each, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.table import MAX_BLOCKS, MTP_BY_TENSOR, NEEDS_MTP_TENSORS
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.container.quoting import quoted, shortened
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.rules.block_names import block_of
from ggufsurgeon.rules.mtp_blocks import missing_mtp
from ggufsurgeon.rules.whole_models.preconditions import check_is_whole_model


@dataclass(frozen=True)
class Blocks:
    """The tensors of each block, as indices into the header's tensor infos."""

    of_block: tuple[tuple[int, ...], ...]
    n_mtp: int
    """Number of MTP blocks: the last ones, which predict further tokens outside the main graph."""

    def __len__(self) -> int:
        return len(self.of_block)

    @property
    def n_trunk(self) -> int:
        """Blocks that the main graph runs: those that a layer path is about."""
        return len(self) - self.n_mtp


def find_blocks(file: GgufFile) -> Blocks:
    """Group the tensors by block. MTP blocks may have none, where llama.cpp loads that.

    Raises RefusedError when the file is not one whole model, MalformedFileError when
    block_count is absent or is not what the tensors say.
    """
    check_is_whole_model(file)
    n_blocks = _block_count(file)
    found = _by_block(file)
    n_mtp = _n_mtp(file, n_blocks)
    if found and min(found) >= n_blocks - n_mtp:
        raise RefusedError(
            f"{file.path} holds the MTP blocks of a model alone, and not the blocks that a layer "
            "path is about",
            hint="Patch the file that has them; this one then no longer fits it.",
        )
    lacks_mtp = max(found, default=0) == n_blocks - n_mtp - 1 and _loads_without_mtp(file, n_mtp)
    _check_complete(file, found, n_blocks, n_mtp, lacks_mtp)
    return Blocks(tuple(tuple(found.get(n, ())) for n in range(n_blocks)), n_mtp)


def find_mtp_blocks(file: GgufFile) -> Blocks:
    """The MTP blocks of a file, which may hold no others: those of the trunk may be empty.

    Raises RefusedError when it has no MTP blocks, and as `find_blocks`.
    """
    check_is_whole_model(file)
    n_blocks = _block_count(file)
    n_mtp = _n_mtp(file, n_blocks)
    found = _by_block(file)
    if not n_mtp or n_blocks > MAX_BLOCKS or max(found, default=0) >= n_blocks:
        raise RefusedError(
            f"{file.path} has no MTP (multi-token prediction) blocks",
            hint="Many GGUFs are converted without them: give one of the model that has them.",
        )
    missing = next((n for n in range(n_blocks - n_mtp, n_blocks) if n not in found), None)
    if missing is not None:
        raise RefusedError(
            f"{file.path} counts block {missing} as an MTP (multi-token prediction) block, and has "
            "no tensors of it"
        )
    return Blocks(tuple(tuple(found.get(n, ())) for n in range(n_blocks)), n_mtp)


def _by_block(file: GgufFile) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, tensor in enumerate(file.header.tensors):
        block = block_of(tensor.name)
        if block is not None:
            found.setdefault(block, []).append(index)
    return found


def _check_complete(
    file: GgufFile, found: dict[int, list[int]], n_blocks: int, n_mtp: int, may_lack_mtp: bool
) -> None:
    """Raise MalformedFileError if a block has no tensors, or a tensor belongs to a block beyond
    block_count, and RefusedError for more blocks than llama.cpp supports."""
    n_trunk = n_blocks - n_mtp
    n_expected = n_trunk if may_lack_mtp else n_blocks
    # Only the first one: the length of a list of missing blocks would be up to the file.
    missing = next((n for n in range(n_expected) if n not in found), None)
    beyond = min((n for n in found if n >= n_blocks), default=None)
    if missing is not None and missing >= n_trunk and beyond is None:
        raise missing_mtp(file, n_trunk, n_blocks, missing)
    if missing is not None or beyond is not None:
        problem = "is beyond it" if missing is None else "has no tensors"
        raise MalformedFileError(
            str(file.path),
            f"block_count is {n_blocks}, but block {beyond if missing is None else missing} "
            f"{problem}",
        )
    if n_blocks > MAX_BLOCKS:
        raise RefusedError(
            f"{file.path} has {n_blocks} blocks, and llama.cpp loads no model with more than "
            f"{MAX_BLOCKS}"
        )


def _n_mtp(file: GgufFile, n_blocks: int) -> int:
    n_mtp = file.header.get(f"{file.header.architecture}.nextn_predict_layers")
    if not isinstance(n_mtp, int | None) or not 0 <= (n_mtp or 0) < n_blocks:
        raise MalformedFileError(
            str(file.path), f"of {n_blocks} blocks, {quoted(n_mtp)} are MTP blocks"
        )
    if file.header.architecture in MTP_BY_TENSOR and n_mtp:
        probe = f"blk.{n_blocks - n_mtp}.nextn.eh_proj.weight"
        return n_mtp if any(tensor.name == probe for tensor in file.header.tensors) else 0
    return n_mtp or 0


def _loads_without_mtp(file: GgufFile, n_mtp: int) -> bool:
    n_tensors = len(file.header.tensors)  # a number that lies must not cost memory
    return 0 < n_mtp < n_tensors and file.header.architecture not in NEEDS_MTP_TENSORS


def _block_count(file: GgufFile) -> int:
    key = block_count_key(file.header)
    pair = file.header.pair_of.get(key)
    if pair is None:
        raise MalformedFileError(str(file.path), f"the key {shortened(key)} is missing")
    if pair.value_type != ValueType.UINT32 or not isinstance(pair.value, int):
        found = f"{quoted(pair.value)} of type {pair.value_type.name}"
        problem = f"{shortened(key)} is {found}, expected a UINT32"
        raise MalformedFileError(str(file.path), problem)
    if pair.value == 0:
        raise MalformedFileError(
            str(file.path), f"{shortened(key)} is 0: there is nothing to patch"
        )
    return pair.value


def block_count_key(header: Header) -> str:
    """The key that holds the number of blocks."""
    return f"{header.architecture}.block_count"


def first_positions(blocks: Sequence[int]) -> dict[int, int]:
    """For each block that runs, the first position at which it does."""
    positions: dict[int, int] = {}
    for position, block in enumerate(blocks):
        positions.setdefault(block, position)
    return positions
