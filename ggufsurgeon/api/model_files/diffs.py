"""Two model files compared, and what a layer path explains of the difference."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.joined_bytes import opened_bytes
from ggufsurgeon.diffing.contents import Contents, TensorContent
from ggufsurgeon.diffing.model_diff import ModelDiff, diff_contents, differing_keys
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError
from ggufsurgeon.hashing.tensor_hashes import hash_tensors
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.assembly import source_files
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.mtp_change.planning import plan_with_mtp, recorded_mtp
from ggufsurgeon.planning.naming import DESCRIPTIVE
from ggufsurgeon.planning.new_tensors.span_ranges import PlacedSpans, file_of_plan
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.planning.provenance import is_left_out
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.strengths import SCALE, weight_of
from ggufsurgeon.write_plan import CopySpan, ScaleSpan, WritePlan
from ggufsurgeon.writing.digests import sha256_of_plan

FLOAT_N_BYTES = 4


def diff_files(a: GgufFile, b: GgufFile, progress: Progress) -> ModelDiff:
    """What two files differ in. Raises UsageError when one cannot be read."""
    hashes = hash_tensors([a, b], progress)
    in_a = Contents(a, hashes[0], sha256_of_product=_products_of(a))
    found = diff_contents(in_a, Contents(b, hashes[1], _first_scales(b)))
    found = replace(found, of_donor=_donor_of(a, b))
    path = found.layer_path
    if path is None or found.same:
        return found
    try:
        found = replace(found, without_mtp=_leaves_out_mtp(a, path))
        unexplained = tuple(_unexplained(found, path))
    except (RefusedError, MalformedFileError, UsageError) as error:
        return replace(found, refusal=str(error))
    return replace(found, unexplained=unexplained)


def _donor_of(a: GgufFile, b: GgufFile) -> str:
    """The SHA-256 of the header of the file that the MTP blocks of a patched `a` are from."""
    with suppress(RefusedError, MalformedFileError):  # a damaged record tells nothing
        recorded = recorded_mtp(b)
        if recorded is not None and recorded[1].source_header_sha256 == a.header_sha256:
            return "" if recorded[0] == NO_MTP else recorded[0]
    return ""


def _first_scales(file: GgufFile) -> dict[str, float]:
    """The first number of each scale of a strength or a factor. Raises UsageError."""
    tensors, layout, found = file.header.tensors, file.layout, dict[str, float]()
    with opened_bytes(file) as data:
        for index, info in enumerate(tensors):
            if weight_of(info.name, SCALE) is None:
                continue
            if layout.tensor_n_bytes[index] >= FLOAT_N_BYTES:
                number = data.read(layout.data_start + info.offset_in_data, FLOAT_N_BYTES)
                if len(number) == FLOAT_N_BYTES:  # the file may have become shorter
                    (found[info.name],) = struct.unpack(f"{file.header.byte_order}f", number)
    return found


def _products_of(file: GgufFile) -> Callable[[str, float], str]:
    """The SHA-256 that an F32 tensor, by its name, has once it is multiplied as `patch` does."""
    indices = {info.name: index for index, info in enumerate(file.header.tensors)}

    def sha256(name: str, factor: float) -> str:
        index = indices[name]
        n_bytes, dtype = file.layout.tensor_n_bytes[index], f"{file.header.byte_order}f4"
        span = ScaleSpan(*file.place(index), n_bytes, dtype, factor)
        return sha256_of_plan(WritePlan(source_files(file), b"", (span,)), "hashing", NO_PROGRESS)

    return sha256


def _leaves_out_mtp(a: GgufFile, path: LayerPath) -> bool:
    blocks = find_blocks(a)
    return bool(blocks.n_mtp) and all(step.block < blocks.n_trunk for step in path.steps)


def _unexplained(found: ModelDiff, path: LayerPath) -> Iterator[str]:
    """Keys and tensors of B that `patch` would make otherwise of A along the path."""
    a, b = found.a.file, found.b.file
    n_trunk = find_blocks(a).n_trunk
    trunk = LayerPath(step for step in path.steps if step.block < n_trunk)
    planned = plan_with_mtp(a, trunk, None) if found.without_mtp else plan_patch(a, trunk)
    made = file_of_plan(a, planned.write_plan)
    for differing in differing_keys(made.header, b.header):
        if differing.key not in DESCRIPTIVE and not is_left_out(differing.key):
            yield differing.key
    in_b = found.b.outside_blocks
    contents = dict(_contents_outside_blocks(found.a, made, planned.write_plan))
    yield from (n for n in dict.fromkeys((*contents, *in_b)) if contents.get(n) != in_b.get(n))


def _contents_outside_blocks(
    a: Contents, made: GgufFile, plan: WritePlan
) -> Iterator[tuple[str, TensorContent]]:
    """What tensors of a planned file would be: mostly those of A, which are hashed already."""
    placed = PlacedSpans(plan.spans)
    places = {info.name: a.file.place(i) for i, info in enumerate(a.file.header.tensors)}
    for index, info in enumerate(made.header.tensors):
        if info.name not in a.outside_blocks:
            continue
        start, n_bytes = made.offset_in_file(index), made.layout.tensor_n_bytes[index]
        at = start - made.header_n_bytes
        spans = tuple(placed.cut(at, at + n_bytes))
        if spans == (CopySpan(*places[info.name], n_bytes),):
            yield info.name, a.outside_blocks[info.name]
        else:
            data = WritePlan(plan.sources, b"", spans)
            sha256 = sha256_of_plan(data, "hashing", NO_PROGRESS)
            yield info.name, TensorContent(info.type_id, info.dims, sha256)
