"""A model on disk, opened for reading only: its header, layout and identity.

It is one GGUF file, or several that are its shards.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.container.file_bytes import Buffer, FileBytes
from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.headers.cursor import INCOMPLETE
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.interrupted_edits import check_not_interrupted
from ggufsurgeon.container.layout import Layout, lay_out, pad
from ggufsurgeon.container.other_files.file_names import hint_of_name
from ggufsurgeon.container.other_files.transfer_faults import (
    ends_in_zeros,
    hint_of_end,
    hint_of_line_ends,
)
from ggufsurgeon.container.padding import PaddingRange, odd_padding
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.container.shards import (
    MANY,
    Shard,
    check_together,
    joined_header,
    parse_name,
    shard_of,
    shard_paths,
)
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError


class Place(NamedTuple):
    """Where the data of a tensor start."""

    file: int
    """Index into `GgufFile.files`."""
    offset_in_file: int


@dataclass(frozen=True)
class GgufFile:
    """What there is to know of a model without reading its tensor data.

    Of a model in shards, header, layout and digest are those of the single file that they make
    when they are joined, which is the file that was split: nothing but the places of the data
    tells the two apart.
    """

    path: Path
    """The file; of a model in shards, the first."""
    header: Header
    header_n_bytes: int
    header_sha256: str
    """SHA-256 of the header, without the padding before the data section."""
    layout: Layout
    ends_in_zeros: bool = False
    """Whether the data of its tensors end in zeros, as a download does that reserves its space."""
    odd_padding: tuple[PaddingRange, ...] = ()
    """Padding that is not zeros; of a model in shards none is known."""
    shards: tuple[GgufFile, ...] = ()
    """The files of a model in shards, in order, each as it is."""

    @property
    def files(self) -> tuple[GgufFile, ...]:
        """The files on disk: the shards, or this file."""
        return self.shards or (self,)

    @property
    def n_bytes(self) -> int:
        """Bytes on disk, of all shards together."""
        return sum(file.layout.n_bytes for file in self.files)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return tuple(
            Place(number, file.layout.data_start + tensor.offset_in_data)
            for number, file in enumerate(self.files)
            for tensor in file.header.tensors
        )

    def place(self, tensor: int) -> Place:
        """Where the data of the tensor with this index start."""
        return self._places[tensor]

    def offset_in_file(self, tensor: int) -> int:
        """Where the data of the tensor with this index start, in the file that has them."""
        return self._places[tensor].offset_in_file


def open_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Read the header of the GGUF file at `path`; of a shard, those of all shards of its model.

    Raises UsageError when one is missing or not a readable regular file, MalformedFileError when
    its content breaks the format, or when shards do not belong together, and InterruptedEditError
    when an edit in place is unfinished.
    """
    file = _open_file(Path(path))
    shard = shard_of(file.header, file.path)
    return file if shard is None else join_shards(_open_shards(file, shard))


def _open_shards(given: GgufFile, shard: Shard) -> list[GgufFile]:
    """All shards of a model, by one of them."""
    _check_end(given)
    paths = list(_present(given.path, shard))
    return [given if path == given.path else _open_file(path) for path in paths]


def join_shards(shards: Sequence[GgufFile]) -> GgufFile:
    """The model that files make which are all shards by their names, in order.

    Raises MalformedFileError when they do not belong together.
    """
    check_together([file.path for file in shards], [file.header for file in shards])
    for file in shards:
        _check_end(file)
    n_bytes = [n for file in shards for n in file.layout.tensor_n_bytes]
    header = joined_header([file.header for file in shards], n_bytes)
    raw = serialize_header(header)
    data_start = pad(len(raw), header.alignment) if header.tensors else len(raw)
    last = header.tensors[-1].offset_in_data + n_bytes[-1] if header.tensors else 0
    data_n_bytes = pad(last, header.alignment)
    layout = Layout(data_start, tuple(n_bytes), data_n_bytes, data_start + data_n_bytes)
    digest = hashlib.sha256(raw).hexdigest()
    ends_in_zeros = any(file.ends_in_zeros for file in shards)
    return GgufFile(
        shards[0].path, header, len(raw), digest, layout, ends_in_zeros, shards=tuple(shards)
    )


def _check_end(file: GgufFile) -> None:
    """Raise MalformedFileError for a shard that goes on behind its tensors."""
    start = pad(file.header_n_bytes, file.header.alignment)
    n_behind = file.layout.n_bytes - start - file.layout.data_n_bytes
    if n_behind > 0:
        raise MalformedFileError(
            str(file.path),
            f"{n_behind:,} bytes follow the tensors of this shard: shards that cat has joined are "
            "no model",
            hint="Take the shards themselves: they need not be joined. llama-gguf-split (merge) "
            "or a patch makes one file of them.",
        )


def _present(given: Path, shard: Shard) -> Iterator[Path]:
    """The paths of all shards of a model. Raises UsageError where some are missing.

    No more are looked for than an error lists: a single file can say that it is one of 65,535.
    """
    missing: list[Path] = []
    for path in shard_paths(given, shard):
        if os.path.lexists(path):
            yield path
        else:
            missing.append(path)
        if len(missing) > MANY:
            break
    if missing:
        raise _missing(missing, shard.count)


def _missing(missing: Sequence[Path], count: int) -> UsageError:
    """The error for shards that are missing; more than `MANY` are not all listed."""
    named = [parsed for path in missing if (parsed := parse_name(path.name))]
    numbers = ", ".join(str(shard.number + 1) for _, shard in named[:MANY])
    more = ", ..." * (len(missing) > MANY)
    what = f"shard {numbers}" if len(missing) == 1 else f"shards {numbers}{more}"
    verb = "is" if len(missing) == 1 else "are"
    renamed = _renamed(missing[0].parent, named[0][0], count)
    return UsageError(
        f"{missing[0]} is missing: {what} of the {count} shards of this model {verb} not there",
        hint=renamed or "Download what is missing into the same folder, under its own name.",
    )


def _renamed(folder: Path, prefix: str, count: int) -> str:
    """A hint that names a file which is one of the missing shards by its metadata, if any is."""
    others = (path for path in sorted(folder.glob("*.gguf")) if not _is_one(path, prefix, count))
    for _, path in zip(range(MANY), others, strict=False):
        try:
            file = _open_file(path)
            shard = shard_of(file.header, path)
        except GgufSurgeonError:
            continue
        if shard is None or shard.count != count:
            continue
        wanted, named = folder / shard.name(prefix), parse_name(path.name)
        if os.path.lexists(wanted) or (named is not None and named[1] == shard):
            continue  # it is not missing, or is a shard of another model
        name, wanted_name = printable(path.name), printable(wanted.name)
        return f"{name} is {shard} by its metadata: if it is this model's, name it {wanted_name}."
    return ""


def _is_one(path: Path, prefix: str, count: int) -> bool:
    """Whether a file is named as one of the shards of a model."""
    named = parse_name(path.name)
    if named is None or named[0] != prefix:
        return False
    return named[1].count == count and 0 <= named[1].number < count


def _open_file(path: Path) -> GgufFile:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be opened: {_reason(error)}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(path, status.st_mode)
        check_not_interrupted(path)
        return _read(descriptor, status.st_size, path)
    finally:
        os.close(descriptor)


def _read(descriptor: int, n_bytes: int, path: Path) -> GgufFile:
    if n_bytes == 0:
        hint = hint_of_name(path) or INCOMPLETE
        raise MalformedFileError(str(path), "the file is empty", hint=hint)
    return read_gguf(FileBytes(descriptor, n_bytes, path), path)


def read_gguf(data: Buffer, path: Path) -> GgufFile:
    """The file with these bytes; `path` is for messages only.

    Raises MalformedFileError, as `open_gguf`.
    """
    try:
        file = read_header(data, path)
    except MalformedFileError as error:
        if error.hint in ("", INCOMPLETE):
            error.hint = hint_of_end(data) or error.hint
        raise
    header, layout = file.header, file.layout
    zeros_at_end = ends_in_zeros(data, header, layout)
    odd = odd_padding(data, header, file.header_n_bytes, layout)
    return replace(file, ends_in_zeros=zeros_at_end, odd_padding=odd)


def read_header(data: Buffer, path: Path) -> GgufFile:
    """What the header alone tells of a file: nothing behind it is read.

    So it is not known whether the data end in zeros, or what the padding is. Raises
    MalformedFileError, as `open_gguf`.
    """
    try:
        header, header_n_bytes = parse_header(data, str(path))
        digest = hashlib.sha256(data[:header_n_bytes]).hexdigest()
        layout = lay_out(header, header_n_bytes, len(data), str(path))
    except MalformedFileError as error:
        if error.hint in ("", INCOMPLETE):
            error.hint = hint_of_line_ends(data) or hint_of_name(path) or error.hint
        raise
    return GgufFile(path, header, header_n_bytes, digest, layout)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _not_a_file(path: Path, mode: int) -> UsageError:
    if stat.S_ISDIR(mode):
        return UsageError(
            f"{path}: expected a GGUF file, found a folder",
            hint="Give a .gguf file in it; a folder with safetensors has to be converted first, "
            "with convert_hf_to_gguf.py of llama.cpp.",
        )
    return UsageError(f"{path}: expected a GGUF file, found something that is not a regular file")
