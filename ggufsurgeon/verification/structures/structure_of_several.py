"""Structure of a file with blocks of several models: every pair and every byte against them.

Written against the layer path, as `structure.py` is. What is outside the blocks comes from the
models that the file records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from ggufsurgeon.architectures.outside import (
    EMBEDDINGS,
    OUTPUT,
    is_before,
    is_behind,
    needs_own_output,
)
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.provenance import ADDED_TENSORS, PREFIX, recorded_names
from ggufsurgeon.progress import Progress
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.mixtures.several_models import SeveralModels
from ggufsurgeon.rules.strengths import Scale, scales_of
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.structures.comparing import OpenFiles, SameTensor
from ggufsurgeon.verification.structures.structure import MAY_CHANGE, descriptors_of


@dataclass(frozen=True)
class Origins:
    """What a file is made from: the models by their indices, the path, and the rest."""

    sources: Mapping[int, GgufFile]
    """Those that are used, model 0 among them, in order."""
    path: LayerPath
    """With MTP blocks."""
    outside: OutsideBlocks

    @property
    def architecture(self) -> str:
        """That of all models."""
        return self.sources[0].header.architecture or ""

    @property
    def is_whole(self) -> bool:
        """Whether all models that are named are there, and a block of a trunk runs."""
        sides = (self.outside.embeddings, self.outside.output, self.outside.tokenizer)
        if not {*sides, *self.of_blocks} <= self.sources.keys():
            return False
        return len(self.path) > self.blocks[self.outside.output].n_mtp

    @cached_property
    def blocks(self) -> Mapping[int, Blocks]:
        """The blocks of each model."""
        return {n: find_blocks(file) for n, file in self.sources.items()}

    @property
    def of_blocks(self) -> list[int]:
        """The models whose blocks run."""
        return sorted({step.source for step in self.path.steps})

    def numbered(self) -> tuple[LayerPath, OutsideBlocks]:
        """The path over the trunks, and the rest, with the models numbered one by one."""
        new = {index: n for n, index in enumerate(self.sources)}
        n_mtp = self.blocks[self.outside.output].n_mtp
        trunk = self.path.steps[: len(self.path) - n_mtp]
        steps = (step.at(new[step.source], step.block) for step in trunk)
        sides = (self.outside.embeddings, self.outside.output, self.outside.tokenizer)
        return LayerPath(steps), OutsideBlocks(*(new[side] for side in sides))

    def scales(self) -> Iterator[tuple[str, int, Scale]]:
        """The name of each scale of a strength or a factor, its model, and the scale."""
        for position, step in enumerate(self.path.steps):
            header, blocks = self.sources[step.source].header, self.blocks[step.source]
            for scale in scales_of(header, blocks, step):
                yield renumber(scale.name, position), step.source, scale


def check_metadata_of_several(patched: GgufFile, origins: Origins) -> Check:
    """Every pair is model 0's, or the tokenizer's, or what the rules make of it on the path."""
    wrong = sorted(_wrong_pairs(patched, origins))
    n_pairs = len(origins.sources[0].header.pairs)
    detail = f"{n_pairs} pairs of the source accounted for" if not wrong else "; ".join(wrong[:5])
    return Check("metadata", not wrong, detail, f"{n_pairs} metadata pairs")


def _wrong_pairs(patched: GgufFile, origins: Origins) -> Iterator[str]:
    trunk, outside = origins.numbered()
    files = tuple(origins.sources.values())
    try:
        rules = SeveralModels(files, tuple(origins.blocks.values()), outside)
        edits = rules.apply(trunk)
        rules.check_strengths(trunk)
    except RefusedError as error:
        yield f"no exact file exists: {error}"
        return
    added = [name for name, _, scale in origins.scales() if scale.source_tensor is None]
    if sorted(recorded_names(patched.header, ADDED_TENSORS)) != sorted(added):
        yield f"{PREFIX}{ADDED_TENSORS} is not as it should be"
    expected = {**rules.header.pair_of, **{edit.pair.key: edit.pair for edit in edits}}
    expected = {key: pair for key, pair in expected.items() if not _is_free(key)}
    found = {pair.key: pair for pair in patched.header.pairs if not _is_free(pair.key)}
    for key in expected.keys() - found.keys():
        yield f"{key} is missing"
    for key in found.keys() - expected.keys():
        yield f"{key} is new"
    for key in found.keys() & expected.keys():
        if key not in MAY_CHANGE and found[key].raw != expected[key].raw:
            yield f"{key} is not as it should be"


def _is_free(key: str) -> bool:
    return key.startswith(PREFIX) or key in SPLIT_KEYS


def check_tensors_of_several(patched: GgufFile, origins: Origins, progress: Progress) -> Check:
    """Every tensor has the shape, the type and, byte for byte, the data of its model's.

    Tensors outside the blocks that all blocks read are the same in all models.
    """
    scales = {name: (source, scale) for name, source, scale in origins.scales()}
    added = {name for name, (_, scale) in scales.items() if scale.source_tensor is None}
    expected = dict(_expected_tensors(origins))
    found = {tensor.name: index for index, tensor in enumerate(patched.header.tensors)}
    odd = sorted(found.keys() ^ (expected.keys() | added))
    if odd:
        return Check("tensors", False, f"missing or left over: {', '.join(odd[:5])}")
    n_bytes = sum(patched.layout.tensor_n_bytes[found[name]] for name in expected)
    progress.begin("comparing", n_bytes, "bytes")
    products = {name: each.factor for name, (_, each) in scales.items() if name not in added}
    with ExitStack() as stack:
        same = _Comparisons(patched, origins, products, stack, progress)
        wrong = [name for name, origin in expected.items() if not same(found[name], *origin)]
        wrong += [name for name in expected if not same.in_all(found[name], name)]
        for name in added:
            source, scale = scales[name]
            if not same.files[source].has_values(found[name], scale.factor, scale.n_elements):
                wrong.append(name)
    if wrong:
        return Check("tensors", False, f"differ from their source: {', '.join(wrong[:5])}")
    multiplied = f", and {len(scales)} factors of weights" if scales else ""
    detail = f"{len(expected)} tensors, {n_bytes:,} bytes identical{multiplied}"
    return Check("tensors", True, detail, f"{len(expected)} tensors ({n_bytes:,} bytes)")


class _Comparisons:
    """Comparisons of tensors of a patched file with those of each of its models."""

    def __init__(
        self,
        patched: GgufFile,
        origins: Origins,
        products: Mapping[str, float],
        stack: ExitStack,
        progress: Progress,
    ) -> None:
        new = descriptors_of(patched, stack)
        self._origins = origins
        self.files = {
            n: OpenFiles(patched, new, source, descriptors_of(source, stack), progress)
            for n, source in origins.sources.items()
        }
        self._same = {
            n: SameTensor(files, range(len(origins.blocks[n])), {}, products)
            for n, files in self.files.items()
        }
        self._index_of = {
            n: {tensor.name: index for index, tensor in enumerate(source.header.tensors)}
            for n, source in origins.sources.items()
        }

    def __call__(self, index: int, source: int, name: str) -> bool:
        """Whether tensor `index` of the patched file is the one of a model by this name."""
        origin = self._index_of[source].get(name)
        return origin is not None and self._same[source](index, origin)

    def in_all(self, index: int, name: str) -> bool:
        """Whether a tensor that all blocks read is the same in all models whose blocks run."""
        if block_of(name) is not None or not _is_of_neither(name, self._origins.architecture):
            return True
        return all(self(index, source, name) for source in self._origins.of_blocks)


def _expected_tensors(origins: Origins) -> Iterator[tuple[str, tuple[int, str]]]:
    """For each tensor that must be there its model, and its name in that."""
    sources, outside = origins.sources, origins.outside
    for position, step in enumerate(origins.path.steps):
        for index in origins.blocks[step.source].of_block[step.block]:
            name = sources[step.source].header.tensors[index].name
            yield renumber(name, position), (step.source, name)
    kind = origins.architecture
    before = [name for name in _outside(sources[outside.embeddings]) if is_before(name, kind)]
    behind = [name for name in _outside(sources[outside.output]) if is_behind(name, kind)]
    first = origins.of_blocks[0]
    yield from ((name, (outside.embeddings, name)) for name in before)
    yield from ((name, (outside.output, name)) for name in behind)
    yield from ((n, (first, n)) for n in _outside(sources[first]) if _is_of_neither(n, kind))
    is_tied = OUTPUT not in behind and outside.embeddings != outside.output
    if is_tied and needs_own_output(origins.architecture):
        yield OUTPUT, (outside.output, EMBEDDINGS)


def _outside(file: GgufFile) -> list[str]:
    return [tensor.name for tensor in file.header.tensors if block_of(tensor.name) is None]


def _is_of_neither(name: str, architecture: str) -> bool:
    return not is_before(name, architecture) and not is_behind(name, architecture)
