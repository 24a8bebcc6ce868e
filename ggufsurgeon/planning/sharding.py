"""A planned file as shards of a size: a plan for each, as llama-gguf-split would cut the file.

The first has all metadata, the others the split keys, and the alignment where the file names one:
llama.cpp reads each with the alignment of its own (ggml/src/gguf.cpp). Tensors stay in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ggufsurgeon.container.codec import (
    make_pair,
    parse_header,
    serialize_header,
    serialize_tensor_info,
)
from ggufsurgeon.container.header import Header, KeyValue
from ggufsurgeon.container.layout import Layout, lay_out, pad
from ggufsurgeon.container.shards import COUNT, N_TENSORS, NUMBER, SPLIT_KEYS
from ggufsurgeon.container.values import encode_value
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.write_plan import WritePlan, ZeroSpan, coalesce

MAX_SHARDS = 500
"""llama.cpp keeps all shards open (src/llama-model-loader.cpp:657), and a process has 1024 files
open at most by default."""
ALIGNMENT = "general.alignment"


def in_shards(plan: WritePlan, max_n_bytes: int) -> tuple[WritePlan, ...]:
    """Plans of the shards, none larger than `max_n_bytes`; `plan` alone where one file is enough.

    Raises RefusedError when a tensor or the metadata need more room, or shards cannot hold all.
    """
    if plan.n_bytes <= max_n_bytes:
        return (plan,)
    file = _PlannedFile.of(plan)
    ranges = list(file.cut(max_n_bytes))
    if len(ranges) > MAX_SHARDS:
        raise RefusedError(
            f"the new file would be in {len(ranges)} shards of up to {max_n_bytes:,} bytes, and "
            f"llama.cpp, which keeps all of them open, loads no more than about {MAX_SHARDS}",
            hint="Make the shards larger.",
        )
    return tuple(file.shard(number, len(ranges), each) for number, each in enumerate(ranges))


@dataclass(frozen=True)
class _PlannedFile:
    """The whole file, and what its shards are made of."""

    plan: WritePlan
    header: Header
    """Without split keys, which a file has that llama-gguf-split has merged."""
    layout: Layout

    @classmethod
    def of(cls, plan: WritePlan) -> _PlannedFile:
        what = "the new file"
        header, n_bytes = parse_header(plan.header, what)
        layout = lay_out(header, n_bytes, plan.n_bytes, what)
        n_behind = plan.n_bytes - layout.data_start - layout.data_n_bytes
        if n_behind > 0:
            raise RefusedError(
                f"{n_behind:,} bytes follow the tensors of {plan.sources[0].path}, and shards have "
                "no place for them",
                hint="Write a single file.",
            )
        pairs = tuple(pair for pair in header.pairs if pair.key not in SPLIT_KEYS)
        return cls(plan, replace(header, pairs=pairs), layout)

    def cut(self, max_n_bytes: int) -> Iterator[range]:
        """The tensors of each shard, as many as fit; the first may have metadata alone."""
        tensors, order = self.header.tensors, self.header.byte_order
        infos = [len(serialize_tensor_info(tensor, order)) for tensor in tensors]
        n_info = list(accumulate(infos, initial=0))
        heads = [len(serialize_header(self._head(n, 0, range(0)))) for n in (0, 1)]
        if self._padded(heads[0]) > max_n_bytes:
            raise _too_small(f"its metadata take {heads[0]:,}", max_n_bytes)
        start = number = 0
        for end in range(1, len(tensors) + 1):
            head = heads[min(number, 1)] + n_info[end] - n_info[start]
            if self._padded(head) + self._data_n_bytes(range(start, end)) <= max_n_bytes:
                continue
            if end - 1 > start or number == 0:
                yield range(start, end - 1)
                start, number = end - 1, number + 1
                head = heads[1] + infos[start]
            n_bytes = self._padded(head) + self._data_n_bytes(range(start, end))
            if n_bytes > max_n_bytes:
                raise _too_small(f"tensor {tensors[start].name!r} takes {n_bytes:,}", max_n_bytes)
        yield range(start, len(tensors))

    def shard(self, number: int, count: int, tensors: range) -> WritePlan:
        """The plan of one shard."""
        header = serialize_header(self._head(number, count, tensors))
        start = self._offset(tensors.start)
        end = start + self._data_n_bytes(tensors)
        behind = max(end - self.plan.n_bytes, 0)  # a file may end before its last padding
        spans = (
            ZeroSpan(self._padded(len(header)) - len(header)),
            *self.plan.between(start, end - behind),
            ZeroSpan(behind),
        )
        return WritePlan(self.plan.sources, header, coalesce(spans))

    def _head(self, number: int, count: int, tensors: range) -> Header:
        header = self.header
        pairs = [pair for pair in header.pairs if number == 0 or pair.key == ALIGNMENT]
        infos = header.tensors[tensors.start : tensors.stop]
        first = infos[0].offset_in_data if infos else 0
        moved = (replace(info, offset_in_data=info.offset_in_data - first) for info in infos)
        keys = _split_pairs(header, (number, len(header.tensors), count))
        return replace(header, pairs=(*pairs, *keys), tensors=tuple(moved))

    def _offset(self, tensor: int) -> int:
        """Where a tensor starts in the whole file; for the number of tensors, where they end."""
        if tensor == len(self.header.tensors):
            return self.layout.data_start + self.layout.data_n_bytes
        return self.layout.data_start + self.header.tensors[tensor].offset_in_data

    def _data_n_bytes(self, tensors: range) -> int:
        return self._offset(tensors.stop) - self._offset(tensors.start)

    def _padded(self, n_bytes: int) -> int:
        return pad(n_bytes, self.header.alignment)


def _split_pairs(header: Header, values: Sequence[int]) -> Iterator[KeyValue]:
    """The split keys, in the order in which llama-gguf-split leaves them."""
    for key, value in zip((NUMBER, N_TENSORS, COUNT), values, strict=True):
        kind = SPLIT_KEYS[key]
        yield make_pair(key, kind, encode_value(kind, value, header.byte_order), header.byte_order)


def _too_small(what: str, max_n_bytes: int) -> RefusedError:
    return RefusedError(
        f"shards of up to {max_n_bytes:,} bytes are too small: {what} bytes, and cannot be cut",
        hint="Make the shards larger.",
    )
