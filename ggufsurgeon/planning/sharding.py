"""A planned file as shards: a plan for each, as llama-gguf-split would cut the file.

The first has all metadata, the others the split keys, and the alignment where the file names one:
llama.cpp reads each with the alignment of its own (ggml/src/gguf.cpp). Tensors stay in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from ggufsurgeon.container.headers.codec import (
    make_pair,
    serialize_header,
    serialize_tensor_info,
)
from ggufsurgeon.container.headers.header import Header, KeyValue
from ggufsurgeon.container.headers.values import encode_value
from ggufsurgeon.container.layout import Layout, pad
from ggufsurgeon.container.shards import COUNT, N_TENSORS, NUMBER, SPLIT_KEYS, without_split_keys
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.write_plan import Span, WritePlan, ZeroSpan, coalesce

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
    file = PlannedFile.of(plan)
    ranges = list(file.cut(max_n_bytes))
    if len(ranges) > MAX_SHARDS:
        raise RefusedError(
            f"the new file would be in {len(ranges)} shards of up to {max_n_bytes:,} bytes, and "
            f"llama.cpp, which keeps all of them open, loads no more than about {MAX_SHARDS}",
            hint="Make the shards larger.",
        )
    return tuple(file.shards(ranges))


def in_shards_of(plan: WritePlan, n_tensors: Sequence[int]) -> tuple[WritePlan, ...]:
    """Plans of shards with these numbers of tensors.

    Raises RefusedError when the file has another number of tensors, or bytes after its tensors.
    """
    file = PlannedFile.of(plan)
    if sum(n_tensors) != len(file.header.tensors):
        raise RefusedError(
            f"the new file has {len(file.header.tensors)} tensors, and shards of it would have "
            f"{sum(n_tensors)}"
        )
    ends = accumulate(n_tensors, initial=0)
    return tuple(file.shards([range(start, end) for start, end in pairwise(ends)]))


@dataclass(frozen=True)
class PlannedFile:
    """The whole file, and what its shards are made of."""

    plan: WritePlan
    header: Header
    """Without split keys, which a file has that llama-gguf-split has merged."""
    layout: Layout

    @classmethod
    def of(cls, plan: WritePlan) -> PlannedFile:
        """The file of a plan. Raises RefusedError when bytes follow its tensors."""
        header, layout = plan.parsed
        n_behind = plan.n_bytes - layout.data_start - layout.data_n_bytes
        if n_behind > 0:
            raise RefusedError(
                f"{n_behind:,} bytes follow the tensors of {plan.sources[0].path}, and shards have "
                "no place for them",
                hint="Write a single file.",
            )
        return cls(plan, without_split_keys(header), layout)

    def cut(self, max_n_bytes: int) -> Iterator[range]:
        """The tensors of each shard, as many as fit; the first may have metadata alone."""
        tensors, order = self.header.tensors, self.header.byte_order
        infos = [len(serialize_tensor_info(tensor, order)) for tensor in tensors]
        n_info = list(accumulate(infos, initial=0))
        none = range(0)
        heads = [len(serialize_header(self._head(self._pairs(n, 0), none))) for n in (0, 1)]
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

    def shards(self, ranges: Sequence[range]) -> Iterator[WritePlan]:
        """The plans of shards with these tensors."""
        for number, tensors in enumerate(ranges):
            yield self.shard(self._pairs(number, len(ranges)), tensors)

    def shard(self, pairs: Sequence[KeyValue], tensors: range) -> WritePlan:
        """The plan of a shard with these pairs and tensors, aligned as its pairs say."""
        head = self._head(pairs, tensors)
        header = serialize_header(head)
        padding = ZeroSpan(pad(len(header), head.alignment) - len(header))
        data = (span for tensor in tensors for span in self._data(tensor, head.alignment))
        return WritePlan(self.plan.sources, header, coalesce((padding, *data)))

    def _data(self, tensor: int, alignment: int) -> Iterator[Span]:
        """A tensor and its padding: that of the whole file if it has any there, then zeros."""
        start, n_bytes = self._offset(tensor), self.layout.tensor_n_bytes[tensor]
        end = start + pad(n_bytes, alignment)
        n_there = min(end, self._offset(tensor + 1), self.plan.n_bytes)
        yield from self.plan.between(start, n_there)
        yield ZeroSpan(end - n_there)

    def _head(self, pairs: Sequence[KeyValue], tensors: range) -> Header:
        """The header of a shard."""
        head = replace(self.header, pairs=tuple(pairs), tensors=())
        infos = []
        offset = 0
        for tensor in tensors:
            infos.append(replace(self.header.tensors[tensor], offset_in_data=offset))
            offset = pad(offset + self.layout.tensor_n_bytes[tensor], head.alignment)
        return replace(head, tensors=tuple(infos))

    def _pairs(self, number: int, count: int) -> list[KeyValue]:
        """The pairs of a shard, with the split keys in llama-gguf-split's order."""
        header = self.header
        values = (number, len(header.tensors), count)
        pairs = [pair for pair in header.pairs if number == 0 or pair.key == ALIGNMENT]
        return [*pairs, *_split_pairs(header, values)]

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
