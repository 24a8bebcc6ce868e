"""Structure of a patched file: every pair and every byte against the source and the layer path.

Written against the layer path and the format, not against the planner: with the making of the
file it shares only the header codec, which is held against gguf-py's reader, the grouping of
tensors into blocks, and the rules, which the tests hold against llama.cpp itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.headers.values import ValueType, read_array_prefix
from ggufsurgeon.container.shards import SPLIT_KEYS
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.provenance import (
    ADDED_TENSORS,
    PREFIX,
    SCALING_KEYS,
    is_scaled,
    recorded_names,
    scaling_pairs,
)
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.block_names import block_of, renumber
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import Scale, check_strengths, scales_of
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.structures.comparing import OpenFiles, SameTensor

MAY_CHANGE = frozenset({"general.name", "general.size_label", "general.parameter_count"})
"""Descriptive keys: they do not reach the computation. Nor do split keys, which llama-gguf-split
leaves in what it merges, and which are checked where shards are opened."""

MOST_ENTRIES, MOST_ELEMENTS = 100_000, 2_000_000
"""Keys and tensors of a file, and elements of its arrays, that gguf-py is asked to read: about 50
microseconds for each key and 15 for each element. Vocabularies of 262,144 tokens have fewer."""


def check_metadata(patched: GgufFile, source: GgufFile, path: LayerPath) -> Check:
    """Every pair is identical, or what the architecture's rules make of it on this path."""
    wrong = sorted(_wrong_pairs(patched, source, path))
    n_pairs = len(source.header.pairs)
    detail = f"{n_pairs} pairs of the source accounted for" if not wrong else "; ".join(wrong[:5])
    return Check("metadata", not wrong, detail, f"{n_pairs} metadata pairs")


def _wrong_pairs(patched: GgufFile, source: GgufFile, path: LayerPath) -> Iterator[str]:
    if patched.header_sha256 == source.header_sha256:
        return
    blocks = find_blocks(source)
    trunk = path.blocks[: len(path) - blocks.n_mtp]
    try:
        rules = ModelRules(source, blocks, scale_weights=is_scaled(patched.header))
        edits = rules.apply(trunk)
    except RefusedError as error:
        yield f"no exact file exists: {error}"
        return
    after = patched.header.pair_of
    yield from _wrong_scaling(patched, source, path.blocks)
    yield from _wrong_strengths(patched, source, path)
    expected = {**source.header.pair_of, **{edit.pair.key: edit.pair for edit in edits}}
    for key in expected.keys() - after.keys() - SPLIT_KEYS.keys():
        if not key.startswith(PREFIX):  # the record of an earlier patch
            yield f"{key} is missing"
    for key, pair in after.items():
        if key.startswith(PREFIX) or key in MAY_CHANGE or key in SPLIT_KEYS:
            continue
        if key not in expected:
            yield f"{key} is new"
        elif pair.raw != expected[key].raw:
            yield f"{key} is not as it should be"


def _wrong_scaling(patched: GgufFile, source: GgufFile, path: Sequence[int]) -> Iterator[str]:
    """Errors in the keys that record scaled tensors."""
    factors = _expected_factors(patched, source, path)
    expected = {p.key: p.raw for p in scaling_pairs(factors, source.header.byte_order)}
    for key in SCALING_KEYS:
        pair = patched.header.pair_of.get(key)
        if expected.get(key) != (pair.raw if pair else None):
            yield f"{key} is not as it should be"


def _wrong_strengths(patched: GgufFile, source: GgufFile, path: LayerPath) -> Iterator[str]:
    """Errors in the key that records added tensors, and strengths that a file cannot have."""
    try:
        check_strengths(source.header, find_blocks(source), path)
    except RefusedError as error:
        yield f"no exact file exists: {error}"
        return
    scales = expected_scales(source, path)
    added = [name for name, scale in scales if scale.source_tensor is None]
    recorded = recorded_names(patched.header, ADDED_TENSORS)
    if sorted(recorded) != sorted(added):
        yield f"{PREFIX}{ADDED_TENSORS} is not as it should be"


def _expected_factors(patched: GgufFile, source: GgufFile, path: Sequence[int]) -> dict[str, float]:
    """The factors that tensors must have been multiplied by, if the file records any."""
    if not is_scaled(patched.header) or source.header.architecture not in ARCHITECTURES:
        return {}
    blocks = find_blocks(source)
    return ModelRules(source, blocks).factors(path[: len(path) - blocks.n_mtp])


def check_tensors(
    patched: GgufFile, source: GgufFile, path: LayerPath, progress: Progress = NO_PROGRESS
) -> Check:
    """Every tensor has the shape, the type and, byte for byte, the data of its source block.

    A tensor with a slice for each block has the slices of the path, in every row. One that the
    file says was multiplied has the products. Blocks with a strength or factors have their scales.
    """
    origins = {tensor.name: index for index, tensor in enumerate(source.header.tensors)}
    scales = dict(expected_scales(source, path))
    added = {name: scale for name, scale in scales.items() if scale.source_tensor is None}
    expected = _expected_tensors(source, path.blocks)
    found = {tensor.name: index for index, tensor in enumerate(patched.header.tensors)}
    if found.keys() != expected.keys() | added.keys():
        odd = sorted(found.keys() ^ (expected.keys() | added.keys()))
        return Check("tensors", False, f"missing or left over: {', '.join(odd[:5])}")
    pairs = [(index, origins[expected[name]]) for name, index in found.items() if name not in added]
    n_bytes = sum(patched.layout.tensor_n_bytes[index] for index, _ in pairs)
    progress.begin("comparing", n_bytes, "bytes")
    with ExitStack() as stack:
        new, old = (descriptors_of(model, stack) for model in (patched, source))
        files = OpenFiles(patched, new, source, old, progress)
        factors = _expected_factors(patched, source, path.blocks)
        products = {name: each.factor for name, each in scales.items() if name not in added}
        same = SameTensor(files, path.blocks, factors, products)
        wrong = [patched.header.tensors[i].name for i, o in pairs if not same(i, o)]
        wrong_scales = [
            name
            for name, scale in added.items()
            if not files.has_values(found[name], scale.factor, scale.n_elements)
        ]
    if wrong:
        return Check("tensors", False, f"differ from their source: {', '.join(wrong[:5])}")
    if wrong_scales:
        detail = f"differ from the factors of their block: {', '.join(wrong_scales[:5])}"
        return Check("tensors", False, detail)
    times = "".join(f", {name} times {factor:.6g}" for name, factor in factors.items())
    plural = "factor" if len(scales) == 1 else "factors"
    multiplied = f", and {len(scales)} {plural} of weights" if scales else ""
    proven = f"{len(pairs)} tensors ({n_bytes:,} bytes){multiplied}"
    detail = f"{len(pairs)} tensors, {n_bytes:,} bytes identical{times}{multiplied}"
    return Check("tensors", True, detail, proven)


def descriptors_of(model: GgufFile, stack: ExitStack) -> list[int]:
    """A descriptor of each file of a model, open for as long as `stack`.

    Raises UsageError when one is gone, or the process may open no more.
    """
    try:
        opened = (file.path.open("rb", buffering=0) for file in model.files)
        return [stack.enter_context(file).fileno() for file in opened]
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be opened: {error.strerror}") from None


def expected_scales(source: GgufFile, path: LayerPath) -> Iterator[tuple[str, Scale]]:
    """The name of each scale of a strength or a factor in the patched file, and the scale."""
    header, blocks = source.header, find_blocks(source)
    for position, step in enumerate(path.steps):
        for scale in scales_of(header, blocks, step):
            yield renumber(scale.name, position), scale


def _expected_tensors(source: GgufFile, path: Sequence[int]) -> dict[str, str]:
    """For each tensor that must be in the patched file, the source tensor it must equal."""
    header, blocks = source.header, find_blocks(source)
    expected = {t.name: t.name for t in header.tensors if block_of(t.name) is None}
    for position, block in enumerate(path):
        for index in blocks.of_block[block]:
            name = header.tensors[index].name
            expected[renumber(name, position)] = name
    return expected


def _takes_minutes(header: Header) -> bool:
    """Whether gguf-py's reader takes a minute or more: it has a step for each element."""
    arrays = [pair for pair in header.pairs if pair.value_type == ValueType.ARRAY]
    n_elements = sum(read_array_prefix(a.raw, a.value_at, a.byte_order)[1] for a in arrays)
    return len(header.pairs) + len(header.tensors) > MOST_ENTRIES or n_elements > MOST_ELEMENTS


def check_against_gguf_py(patched: GgufFile) -> Check:
    """gguf-py's reader finds the same keys, tensors, shapes, types and offsets, in every file."""
    checks = [_check_file_against_gguf_py(file) for file in patched.files]
    wrong = next((check for check in checks if not check.ok), None)
    if wrong is not None or len(checks) == 1:
        return wrong or checks[0]
    n_keys = sum(len(file.header.pairs) for file in patched.files)
    found = f"{n_keys} keys, {len(patched.header.tensors)} tensors, same shapes and offsets"
    detail = f"{len(checks)} shards: {found}"
    return replace(checks[0], detail=detail)


def _check_file_against_gguf_py(patched: GgufFile) -> Check:
    name = "gguf-py agrees"
    if _takes_minutes(patched.header):
        return Check(name, None, "not read with gguf-py: it takes minutes for so many entries")
    try:
        from gguf import GGUFReader

        reader = GGUFReader(patched.path, "r")
    except Exception as error:  # its errors have no common class; empty arrays are an IndexError
        return Check(name, None, f"gguf-py cannot read this file: {error!r}")
    theirs = {
        t.name: (tuple(int(d) for d in t.shape), int(t.tensor_type), int(t.data_offset))
        for t in reader.tensors
    }
    ours = {
        t.name: (t.dims, t.type_id, patched.offset_in_file(index))
        for index, t in enumerate(patched.header.tensors)
    }
    keys = {key for key in reader.fields if not key.startswith("GGUF.")}
    if theirs != ours or keys != patched.header.pair_of.keys():
        return Check(name, False, "it reads other keys or tensors than this program")
    return Check(name, True, f"{len(keys)} keys, {len(ours)} tensors, same shapes and offsets")
