"""`ggufsurgeon inspect`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.inspecting.blocks import blocks_as_json, print_blocks
from ggufsurgeon.cli.output.models import fetched_as_json, fetched_text
from ggufsurgeon.cli.output.terminal import (
    n_bytes_text,
    print_json,
    print_table,
    print_text,
    watched,
)
from ggufsurgeon.cli.output.values import value_as_json, value_text
from ggufsurgeon.cli.shared_options.options import OUTPUT, Json, Source
from ggufsurgeon.container.ggml_types import SIZES, type_name
from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.model_name import model_name, shown_name

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.inspection import Inspection
    from ggufsurgeon.companions.description import Description
    from ggufsurgeon.container.gguf_file import GgufFile
    from ggufsurgeon.hashing.whole_file import FileHashes

COMPANIONS = (
    "llama.cpp applies LoRA adapters, imatrices, control vectors and drafts of {} to the wrong "
    "blocks, without an error: patch-companion re-indexes them"
)
MOST_NAMES = 8
"""Base models that are shown."""
SHOWN_OF_DIGEST = 16
MOST_TYPES = 40
"""Types of tensors that are listed: ggml has 33, and a file can name 2^32."""
TYPE_NAMES = frozenset(size.name for size in SIZES.values())


def inspect(
    model: Source,
    metadata: Annotated[
        bool,
        typer.Option("--metadata", help="Show all key-value pairs too.", rich_help_panel=OUTPUT),
    ] = False,
    with_hashes: Annotated[
        bool,
        typer.Option(
            "--hash",
            help="Also show the SHA-256 of the file, of each shard and of each tensor. This reads "
            "the whole file.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show what a GGUF is: its blocks, and which windows can be repeated."""
    file = gs.open(model)
    inspection = file.inspect()
    facts = _facts(inspection)
    pairs = inspection.file.header.pairs
    hashes = None
    if with_hashes:
        with watched() as progress:
            file = file.download(progress)
            hashes = file.hashes(progress)
    if json:
        values = {pair.key: value_as_json(pair) for pair in pairs}
        hashed = _hashes_as_json(file.file, hashes) if hashes else {}
        fetched = {"fetched": fetched_as_json(file)}
        print_json({**facts, **fetched, **blocks_as_json(inspection), **hashed, "metadata": values})
        return
    kind = inspection.other_kind
    shown = shown_name(model)
    title = f"{shown} is {kind.what}: {kind.why}" if kind else shown
    where = [("read", fetched_text(file))] if file.fetched else []
    where += [("file", str(file.path))] if model_name(model) and not file.is_remote else []
    print_table(title, ["", ""], [*_rows(inspection, facts), *where])
    print_blocks(inspection)
    if metadata:
        print_table("Metadata", ["key", "value"], [(pair.key, value_text(pair)) for pair in pairs])
    if hashes:
        _print_hashes(file.file, hashes)


def _hashes_as_json(file: GgufFile, hashes: FileHashes) -> dict[str, Any]:
    """The digests; those of tensors are of their data, without padding."""
    sizes = file.layout.tensor_n_bytes
    return {
        "sha256": hashes.sha256,
        "shards": [
            {"file": shard.path.name, "n_bytes": shard.layout.n_bytes, "sha256": digest}
            for shard, digest in zip(file.shards, hashes.shards, strict=True)
        ],
        "tensors": [
            {
                "name": info.name,
                "type": type_name(info.type_id),
                "dims": list(info.dims),
                "n_bytes": n_bytes,
                "sha256": digest,
            }
            for info, n_bytes, digest in zip(
                file.header.tensors, sizes, hashes.tensors, strict=True
            )
        ],
    }


def _print_hashes(file: GgufFile, hashes: FileHashes) -> None:
    infos = zip(file.header.tensors, hashes.tensors, strict=True)
    rows = [(info.name, type_name(info.type_id), digest) for info, digest in infos]
    print_table("SHA-256 of tensors", ["tensor", "type", "SHA-256"], rows)
    for shard, digest in zip(file.shards, hashes.shards, strict=True):
        print_text(f"SHA-256 of {shard.path.name}: {digest}")
    what = "the joined shards" if file.shards else "the file"
    print_text(f"SHA-256 of {what}: {hashes.sha256}")


def _rows(inspection: Inspection, facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person asks first, in words."""
    header = inspection.file.header
    yield "name", shortened(str(header.get("general.name") or "-"))
    yield "architecture", shortened(str(facts["architecture"]))
    yield "parameters", f"{facts['n_parameters']:,}"
    n_mtp = facts["n_mtp_blocks"]
    blocks = "-" if facts["n_blocks"] is None else str(facts["n_blocks"])
    yield "blocks", f"{blocks}, of which {n_mtp} predict further tokens (MTP)" if n_mtp else blocks
    companion = _described(inspection)
    if companion is not None:
        yield from _companion_rows(companion)
    elif facts["layer_path"]:
        from ggufsurgeon.planning.mixtures.other_sources import read_several

        several = read_several(header)
        of_what = f"{1 + len(several.others)} models" if several else "its source"
        yield "layer path", f"{facts['layer_path']} of {of_what}"
        if several or not _keeps_numbers(str(facts["layer_path"])):
            yield "companions", COMPANIONS.format("its models" if several else "its source")
    n_ctx = header.get(f"{header.architecture}.context_length")
    yield "context", f"{n_ctx:,} tokens" if isinstance(n_ctx, int) else "-"
    yield "size", f"{n_bytes_text(facts['n_bytes'])} ({facts['n_bytes']:,} bytes)"
    if facts["n_shards"]:
        yield "shards", f"{facts['n_shards']} files, from {inspection.file.path.name} on"
    types = facts["tensor_types"].items()
    counts = [f"{count} {name}" for name, count in types]
    yield "tensors", ", ".join(counts[:MOST_TYPES]) + ", ..." * (len(counts) > MOST_TYPES)
    if unknown := ", ".join(name for name in facts["tensor_types"] if name not in TYPE_NAMES):
        yield "unknown types", f"{shortened(unknown)}: llama.cpp of 2026-10-01 does not load them"
    yield "format", f"GGUF {facts['gguf_version']}, {facts['byte_order']}-endian"
    if inspection.file.ends_in_zeros:
        yield "data", "ends in zeros, as that of an unfinished download does: compare its SHA-256"
    yield "can be patched", "yes" if facts["can_be_patched"] else f"no: {facts['refusal']}"
    if companion is not None and companion.record is not None:
        yield "what to do", "Load it with that model; it fits no other, not even the original."
    elif inspection.instead:
        yield "what to do", inspection.instead


def _keeps_numbers(recorded: str) -> bool:
    """Whether blocks have the numbers of the source's, as where only MTP blocks differ."""
    try:
        path = LayerPath(recorded)
    except UsageError:  # a damaged record
        return False
    return path == LayerPath.identity(len(path))


def _described(inspection: Inspection) -> Description | None:
    from ggufsurgeon.companions.description import describe

    return describe(inspection.file.header)


def _companion_rows(companion: Description) -> Iterator[tuple[str, str]]:
    """Which model a companion is for."""
    if companion.base_models:
        yield "made for", ", ".join(shortened(name) for name in companion.base_models[:MOST_NAMES])
    if companion.blocks:
        yield "about blocks", shortened(str(LayerPath.of(companion.blocks)))
    if companion.record is not None:
        digest = shortened(companion.record.patched_header_sha256[:SHOWN_OF_DIGEST])
        number = companion.record.number
        of_model = "" if number is None else f", of model {shortened(number)}"
        yield "re-indexed", f"for layer path {shortened(companion.record.blocks)}{of_model}"
        yield "for the model", f"whose header has a SHA-256 that begins with {digest}"


def _companion_as_json(companion: Description | None) -> dict[str, Any] | None:
    if companion is None:
        return None
    record = companion.record
    return {
        "kind": companion.kind.name.lower(),
        "architecture": companion.architecture,
        "base_models": list(companion.base_models),
        "blocks": list(companion.blocks),
        "layer_path": record.blocks if record else None,
        "patched_header_sha256": record.patched_header_sha256 if record else None,
        "base_number": record.number if record else None,
    }


def _facts(inspection: Inspection) -> dict[str, Any]:
    file, blocks = inspection.file, inspection.blocks
    header = file.header
    types = Counter(type_name(tensor.type_id) for tensor in header.tensors)
    sizes = file.layout.tensor_n_bytes
    in_blocks = sum(sizes[i] for block in blocks.of_block for i in block) if blocks else None
    return {
        "architecture": header.architecture,
        "n_blocks": len(blocks) if blocks else None,
        "n_mtp_blocks": blocks.n_mtp if blocks else None,
        "n_bytes": file.n_bytes,
        "n_shards": len(file.shards),
        "n_bytes_in_blocks": in_blocks,
        "n_parameters": sum(math.prod(tensor.dims) for tensor in header.tensors),
        "n_tensors": len(header.tensors),
        "tensor_types": dict(types.most_common()),
        "gguf_version": header.version,
        "byte_order": "little" if header.byte_order == "<" else "big",
        "alignment": header.alignment,
        "header_sha256": file.header_sha256,
        "layer_path": header.get("layer_path.blocks"),
        "companion": _companion_as_json(_described(inspection)),
        "can_be_patched": inspection.refusal is None,
        "refusal": inspection.refusal,
    }
