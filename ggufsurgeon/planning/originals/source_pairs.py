"""The key-value pairs that the source of a patched file had, from its record alone."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import parse_pairs
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import (
    ARRAY_PREFIX_N_BYTES,
    ValueType,
    read_array_prefix,
)
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import LostError, RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.provenance import PREFIX, Provenance, is_left_out, recorded_names
from ggufsurgeon.rules.whole_models.preconditions import check_is_whole_model

COMPANION = f"{PREFIX}companion_header_sha256"
"""A key of companions that were re-indexed (`companions/record.py`)."""
MOST_GROUPS = 1000
"""Largest number of groups of numbers in a string of a record; real patches record only a few."""


def source_pairs(header: Header, path: str) -> tuple[KeyValue, ...]:
    """The pairs of the source of a patched file with this header, in its order.

    Split keys of the file itself do not come from the source: llama-gguf-split leaves them in
    merged files.
    `path` is for messages only. Raises RefusedError where the record is not one,
    MalformedFileError where the pairs that it holds are not well-formed.
    """
    _check_version(header)
    pairs = recorded_pairs(header, "replaced_pairs", path)
    replaced = {pair.key: pair for pair in pairs}
    dropped = set(recorded_names(header, "added_keys"))
    restored = [
        replaced.pop(pair.key, pair)
        for pair in header.pairs
        if (pair.key in replaced and pair.key not in SPLIT_KEYS)
        or not (is_left_out(pair.key) or pair.key in dropped)
    ]
    removed_at = [index for (index,) in recorded_numbers(header, "removed_at", 1)]
    return with_pairs_at(removed_at, list(replaced.values()), restored, "removed_at")


def header_before(header: Header, path: str) -> Header:
    """The header of the source of a patched file with this header, without tensors.

    Raises as `source_pairs`.
    """
    return Header(header.version, header.byte_order, source_pairs(header, path), ())


def with_pairs_at(
    places: Sequence[int], inserted: Sequence[KeyValue], pairs: Sequence[KeyValue], key: str
) -> tuple[KeyValue, ...]:
    """The pairs with `inserted` among them, at the indices that a key of the record lists.

    Raises RefusedError if these indices are not valid.
    """
    found = list(pairs)
    if len(places) != len(inserted):
        raise damaged(key)
    for index, pair in zip(places, inserted, strict=True):
        if index > len(found):
            raise damaged(key)
        found.insert(index, pair)
    return tuple(found)


def _check_version(header: Header) -> None:
    """Raise RefusedError for files of versions that recorded less."""
    if not {f"{PREFIX}kept_padding", f"{PREFIX}removed_at"} <= header.pair_of.keys():
        raise RefusedError(
            "an older version of ggufsurgeon wrote this file: it does not record what the padding "
            "of the source was, so that the same bytes cannot be promised",
            hint="Patch the original again with this version, if you still have it.",
        )


def recorded_path(record: Provenance) -> LayerPath:
    """The layer path of a record. Raises RefusedError where it is none over one model."""
    if record.is_of_several:
        raise LostError(
            f"the file was made from several models, with the layer path {record.blocks}: it has "
            f"no single original, and contains none of them in full",
            hint="Use the files that it was made from; verify checks that they are the right ones.",
        )
    try:
        path = LayerPath(record.blocks)
    except UsageError:
        raise damaged("blocks") from None
    if any(step.source for step in path.steps):
        raise damaged("blocks")
    return path


def recorded_pairs(header: Header, key: str, path: str) -> tuple[KeyValue, ...]:
    """The pairs in a key of the record, with their original bytes.

    `path` is for messages only. Raises RefusedError if the value is not an array of bytes, and
    MalformedFileError if the bytes are not pairs.
    """
    pair = header.pair_of.get(PREFIX + key)
    if pair is None or pair.value_type != ValueType.ARRAY:
        raise damaged(key)
    if read_array_prefix(pair.raw, pair.value_at, pair.byte_order)[0] != ValueType.UINT8:
        raise damaged(key)
    raw = pair.raw[pair.value_at + ARRAY_PREFIX_N_BYTES :]
    return parse_pairs(raw, header.byte_order, f"{path}, {PREFIX}{key}")


def recorded_numbers(header: Header, key: str, n_each: int) -> list[list[int]]:
    """The numbers of a text of the record, `n_each` together: "1000+24,2000+8" for 2.

    Raises RefusedError where it is not such a text.
    """
    text = header.get(PREFIX + key)
    groups = [part.split("+") for part in text.split(",")] if isinstance(text, str) and text else []
    numbers = (number for group in groups for number in group)
    well_formed = isinstance(text, str) and all(map(_is_number, numbers))
    if len(groups) > MOST_GROUPS or not well_formed:
        raise damaged(key)
    if any(len(group) != n_each for group in groups):
        raise damaged(key)
    return [[int(number) for number in group] for group in groups]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def no_record(file: GgufFile) -> RefusedError:
    """The error for a file without a record. Raises that for a file that is no whole model."""
    if COMPANION in file.header.pair_of:
        return RefusedError(
            f"{file.path} was re-indexed for a patched model, and records the SHA-256 of the "
            "header of its original alone, not what restores it",
            hint="Use the companion that was made for the original model.",
        )
    check_is_whole_model(file)
    return RefusedError(
        f"{file.path} records no patch: ggufsurgeon did not write it, or it is an original",
        hint="Give the patched file; inspect shows the layer path that a file records.",
    )


def damaged(key: str) -> RefusedError:
    """The error for a record with a value that this program does not write."""
    return RefusedError(
        f"{PREFIX}{key} is not what ggufsurgeon writes: the record of the patch is damaged",
        hint="Another program has changed the metadata since, or the file is damaged.",
    )
