"""Tensors outside the blocks of several models: which of them a new file takes from which model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ggufsurgeon.architectures.outside import (
    ALWAYS_TIED,
    EMBEDDINGS,
    OUTPUT,
    is_before,
    is_behind,
    needs_own_output,
)
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.rules.block_names import block_of

OF_VOCABULARY = (EMBEDDINGS, OUTPUT, "output.bias")
"""Tensors whose last dimension is the number of tokens."""


class OutsideTensor(NamedTuple):
    """A tensor outside the blocks of the new file."""

    name: str
    source: int
    tensor: int
    """Its index among the tensors of that model."""


def outside_tensors(
    files: Sequence[GgufFile], outside: OutsideBlocks, used: Sequence[int]
) -> tuple[OutsideTensor, ...]:
    """The tensors outside the blocks of the new file.

    What belongs to neither side of the blocks comes from the first of the models in `used`: it must
    be equal in all of them, as `equal_tensors` lists them. Raises RefusedError where models do not
    fit together.
    """
    found = [*_side(files, outside.embeddings, is_before), *_side(files, outside.output, is_behind)]
    found += _output_of_embeddings(files, outside, found)
    _check_rows(files, outside, found)
    for _ in equal_tensors(files, used):  # raises where one model lacks what another has
        pass
    first = used[0]
    found += [OutsideTensor(t.name, first, n) for n, t in _of_neither(files[first])]
    return tuple(found)


def equal_tensors(
    files: Sequence[GgufFile], used: Sequence[int]
) -> Iterator[tuple[OutsideTensor, OutsideTensor]]:
    """Pairs of tensors outside the blocks that must have the same data: all blocks read them.

    Raises RefusedError where they differ by name, type or shape.
    """
    first = used[0]
    ours = {tensor.name: (n, tensor) for n, tensor in _of_neither(files[first])}
    for other in used[1:]:
        theirs = {tensor.name: (n, tensor) for n, tensor in _of_neither(files[other])}
        for name in sorted(ours.keys() ^ theirs.keys()):
            has, lacks = (first, other) if name in ours else (other, first)
            raise RefusedError(
                f"{files[has].path} has the tensor {quoted(name)}, which its blocks read, and "
                f"{files[lacks].path} lacks it: their blocks cannot be mixed"
            )
        for name, (n, tensor) in ours.items():
            m, same = theirs[name]
            if (tensor.dims, tensor.type_id) != (same.dims, same.type_id):
                raise RefusedError(
                    f"the tensor {quoted(name)}, which all blocks read, has another shape or type "
                    f"in {files[first].path} than in {files[other].path}: their blocks cannot be "
                    "mixed"
                )
            yield OutsideTensor(name, first, n), OutsideTensor(name, other, m)


def _outside(file: GgufFile) -> Iterator[tuple[int, TensorInfo]]:
    for index, tensor in enumerate(file.header.tensors):
        if block_of(tensor.name) is None:
            yield index, tensor


def _of_neither(file: GgufFile) -> Iterator[tuple[int, TensorInfo]]:
    kind = file.header.architecture or ""
    for index, tensor in _outside(file):
        if not any(is_of(tensor.name, kind) for is_of in (is_before, is_behind)):
            yield index, tensor


def _side(
    files: Sequence[GgufFile], source: int, is_of_side: Callable[[str, str], bool]
) -> Iterator[OutsideTensor]:
    for index, tensor in _outside(files[source]):
        if is_of_side(tensor.name, files[source].header.architecture or ""):
            yield OutsideTensor(tensor.name, source, index)


def _output_of_embeddings(
    files: Sequence[GgufFile], outside: OutsideBlocks, found: Sequence[OutsideTensor]
) -> Iterator[OutsideTensor]:
    """The output head of a model whose output is its embeddings, where those are of another."""
    file = files[outside.output]
    architecture = file.header.architecture or ""
    has_output = any(each.name == OUTPUT for each in found)
    if outside.embeddings == outside.output or has_output or not needs_own_output(architecture):
        return
    if architecture in ALWAYS_TIED:
        raise RefusedError(
            f"the output head of {file.path} is its embeddings, as in every model of the "
            f"architecture {architecture}: it cannot be in one file with the embeddings of "
            f"{files[outside.embeddings].path}",
            hint="Take embeddings and output from one model: in a recipe, the keys embeddings and "
            "output name it.",
        )
    for index, tensor in _outside(file):
        if tensor.name == EMBEDDINGS:
            yield OutsideTensor(OUTPUT, outside.output, index)


def _check_rows(
    files: Sequence[GgufFile], outside: OutsideBlocks, found: Sequence[OutsideTensor]
) -> None:
    """Raise RefusedError unless embeddings and output have a row for each token."""
    base = files[outside.tokenizer]
    n_tokens = next((t.dims[-1] for _, t in _outside(base) if t.name == EMBEDDINGS), None)
    for name, source, index in found:
        n_rows = files[source].header.tensors[index].dims[-1]
        if name in OF_VOCABULARY and n_tokens is not None and n_rows != n_tokens:
            raise RefusedError(
                f"{name} would come from {files[source].path} and has {n_rows:,} rows, and the "
                f"tokenizer from {base.path}, which has {n_tokens:,} tokens",
                hint="Take embeddings, output and tokenizer from models of one vocabulary size: a "
                "recipe of ggufsurgeon's own format has the keys embeddings, output and tokenizer.",
            )
