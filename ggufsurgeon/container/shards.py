"""Shards: one model in several files, each a GGUF with some of the tensors. No file is opened.

The first shard has all metadata, the others have the split keys alone; each has a data section of
its own (tools/gguf-split/gguf-split.cpp:206-260). llama.cpp is given the first, finds the others
by its name (`llama_split_path`, src/llama.cpp), and reads the keys as checked here
(src/llama-model-loader.cpp:612-689).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.container.layout import pad
from ggufsurgeon.errors import MalformedFileError

NUMBER, COUNT, N_TENSORS = "split.no", "split.count", "split.tensors.count"
SPLIT_KEYS = {
    NUMBER: ValueType.UINT16,
    COUNT: ValueType.UINT16,
    N_TENSORS: ValueType.INT32,
}
"""The keys of shards, and the types that llama.cpp reads them as."""
MANY = 8
"""Shards that an error lists by name or number."""
_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Shard:
    """Which shard a file is."""

    number: int
    """From 0 on."""
    count: int

    def __str__(self) -> str:
        """As people count, and as names do: from 1 on."""
        return f"shard {self.number + 1} of {self.count}"

    def name(self, prefix: str) -> str:
        """The name that llama.cpp looks for (`SPLIT_PATH_FORMAT`, src/llama.cpp)."""
        return f"{prefix}-{self.number + 1:05d}-of-{self.count:05d}.gguf"


def parse_name(name: str) -> tuple[str, Shard] | None:
    """Prefix and shard of a file name; None for other names."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], Shard(int(match[2]) - 1, int(match[3])))


def shard_of(header: Header, path: Path) -> Shard | None:
    """The shard that a file is by its metadata; None for a single file.

    A split count of 1 or less is a single file for llama.cpp, and what llama-gguf-split leaves
    when it merges. Raises MalformedFileError for split keys of other types than llama.cpp reads.
    """
    count = header.get(COUNT)
    if not isinstance(count, int) or count < 2:
        return None
    for key, kind in SPLIT_KEYS.items():
        pair = header.pair_of.get(key)
        if pair is not None and pair.value_type != kind:
            problem = f"{key} is of type {pair.value_type.name}, and llama.cpp reads a {kind.name}"
            raise MalformedFileError(str(path), problem)
    number = header.get(NUMBER)
    if not isinstance(number, int) or number >= count:
        problem = f"it is one of {count} shards by its metadata, and its number ({NUMBER}) is "
        raise MalformedFileError(str(path), f"{problem}{'missing' if number is None else number}")
    return Shard(number, count)


def shard_paths(path: Path, shard: Shard) -> Iterator[Path]:
    """The paths of all shards of the model that the file at `path` is a shard of, in order.

    Raises MalformedFileError when its name is not the one that llama.cpp looks for.
    """
    named = parse_name(path.name)
    if named is None or named[1] != shard:
        is_named = "" if named is None else f"{named[1]} by its name, and "
        raise MalformedFileError(
            str(path),
            f"it is {is_named}{shard} by its metadata, which llama.cpp finds only under a name "
            f"that ends in {shard.name('')}",
            hint="Give each shard the name that it was published with.",
        )
    numbers = range(shard.count)
    return (path.with_name(Shard(n, shard.count).name(named[0])) for n in numbers)


def siblings(path: Path) -> list[Path]:
    """The paths of all shards of a model by the name of one; the path alone for other names."""
    named = parse_name(path.name)
    if named is None:
        return [path]
    prefix, shard = named
    return [path.with_name(Shard(n, shard.count).name(prefix)) for n in range(shard.count)]


def paths_at(destination: Path, count: int) -> list[Path]:
    """Paths for the shards of a file at `destination`, which may itself be named like a shard.

    Only `destination` if `count` is less than 2.
    """
    if count < 2:
        return [destination]
    named = parse_name(destination.name)
    prefix = destination.name.removesuffix(".gguf") if named is None else named[0]
    return [destination.with_name(Shard(n, count).name(prefix)) for n in range(count)]


def check_together(paths: Sequence[Path], headers: Sequence[Header]) -> None:
    """Check that the shards at `paths`, which are all shards by their names, are of one model.

    Raises MalformedFileError that names the shard which does not belong there.
    """
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        problem = next(
            _strange(path, Shard(number, len(paths)), header, paths[0], headers[0]), None
        )
        if problem is not None:
            hint = (
                "Give each shard the name that it was published with, or download this one again, "
                "from where the others come from."
            )
            raise MalformedFileError(str(path), problem, hint=hint)
    _check_tensors(paths, headers)


def _strange(
    path: Path, shard: Shard, header: Header, first: Path, of_first: Header
) -> Iterator[str]:
    """What tells that a file is not the shard that its name says."""
    by_metadata = shard_of(header, path)
    if by_metadata != shard:
        found = "a single file" if by_metadata is None else str(by_metadata)
        yield f"it is {shard} by its name, and {found} by its metadata: it was renamed"
    n_tensors, n_of_first = header.get(N_TENSORS), of_first.get(N_TENSORS)
    if n_tensors != n_of_first:
        yield (
            f"it is of a model with {n_tensors} tensors, and {first.name} of one with "
            f"{n_of_first} ({N_TENSORS}): they are shards of different models"
        )
    for key in header.pair_of.keys() & of_first.pair_of.keys() - SPLIT_KEYS.keys():
        if header.pair_of[key].raw != of_first.pair_of[key].raw:
            yield f"its {key} is not that of {first.name}: they are shards of different models"
    if header.byte_order != of_first.byte_order:
        yield f"its byte order is not that of {first.name}"


def _check_tensors(paths: Sequence[Path], headers: Sequence[Header]) -> None:
    """Every tensor is in one shard, and all are there."""
    seen: dict[str, Path] = {}
    for path, header in zip(paths, headers, strict=True):
        for tensor in header.tensors:
            if tensor.name in seen:
                raise MalformedFileError(
                    str(path),
                    f"tensor {tensor.name!r} is in {seen[tensor.name].name} too: the two are "
                    "shards of different models",
                )
            seen[tensor.name] = path
    n_tensors = headers[0].get(N_TENSORS)
    if n_tensors != len(seen):
        raise MalformedFileError(
            str(paths[0]),
            f"its {len(paths)} shards hold {len(seen)} tensors, and {N_TENSORS} is {n_tensors}: "
            "one of them is a shard of another model, or was made anew",
        )


def without_split_keys(header: Header) -> Header:
    """The header without the split keys, which llama-gguf-split leaves in merged files."""
    return replace(header, pairs=tuple(p for p in header.pairs if p.key not in SPLIT_KEYS))


def joined_header(headers: Sequence[Header], tensor_n_bytes: Sequence[int]) -> Header:
    """The header of the single file that shards make: that of the model before it was split.

    `tensor_n_bytes` are of all tensors, in order. The split keys are left out.
    """
    header = without_split_keys(headers[0])
    tensors = []
    offset = 0
    infos = (tensor for header in headers for tensor in header.tensors)
    for tensor, n_bytes in zip(infos, tensor_n_bytes, strict=True):
        tensors.append(replace(tensor, offset_in_data=offset))
        offset = pad(offset + n_bytes, header.alignment)
    return replace(header, tensors=tuple(tensors))
