"""`ggufsurgeon inspect`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.blocks import blocks_as_json, print_blocks
from ggufsurgeon.cli.options import OUTPUT, Json, Source
from ggufsurgeon.cli.terminal import n_bytes_text, print_json, print_table
from ggufsurgeon.cli.values import value_as_json, value_text
from ggufsurgeon.container.ggml_types import type_name
from ggufsurgeon.container.quoting import shortened

if TYPE_CHECKING:
    from ggufsurgeon.api.files import Inspection


def inspect(
    model: Source,
    metadata: Annotated[
        bool,
        typer.Option("--metadata", help="Show all key-value pairs too.", rich_help_panel=OUTPUT),
    ] = False,
    json: Json = False,
) -> None:
    """Show what a GGUF is: its blocks, and which windows can be repeated."""
    inspection = gs.open(model).inspect()
    facts = _facts(inspection)
    pairs = inspection.file.header.pairs
    if json:
        values = {pair.key: value_as_json(pair) for pair in pairs}
        print_json({**facts, **blocks_as_json(inspection), "metadata": values})
        return
    kind = inspection.other_kind
    title = f"{model} is {kind.what}: {kind.why}" if kind else f"{model}"
    print_table(title, ["", ""], list(_rows(inspection, facts)))
    print_blocks(inspection)
    if metadata:
        print_table("Metadata", ["key", "value"], [(pair.key, value_text(pair)) for pair in pairs])


def _rows(inspection: Inspection, facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person asks first, in words."""
    header = inspection.file.header
    yield "name", shortened(str(header.get("general.name") or "-"))
    yield "architecture", shortened(str(facts["architecture"]))
    yield "parameters", f"{facts['n_parameters']:,}"
    n_mtp = facts["n_mtp_blocks"]
    blocks = "-" if facts["n_blocks"] is None else str(facts["n_blocks"])
    yield "blocks", f"{blocks}, of which {n_mtp} predict further tokens (MTP)" if n_mtp else blocks
    if facts["layer_path"]:
        yield "layer path", f"{facts['layer_path']} of its source"
    n_ctx = header.get(f"{header.architecture}.context_length")
    yield "context", f"{n_ctx:,} tokens" if isinstance(n_ctx, int) else "-"
    yield "size", f"{n_bytes_text(facts['n_bytes'])} ({facts['n_bytes']:,} bytes)"
    types = facts["tensor_types"].items()
    yield "tensors", ", ".join(f"{count} {name}" for name, count in types)
    yield "format", f"GGUF {facts['gguf_version']}, {facts['byte_order']}-endian"
    if inspection.file.ends_in_zeros:
        yield "data", "ends in zeros, as that of an unfinished download does: compare its SHA-256"
    yield "can be patched", "yes" if facts["can_be_patched"] else f"no: {facts['refusal']}"
    if inspection.instead:
        yield "what to do", inspection.instead


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
        "n_bytes": file.layout.n_bytes,
        "n_bytes_in_blocks": in_blocks,
        "n_parameters": sum(math.prod(tensor.dims) for tensor in header.tensors),
        "n_tensors": len(header.tensors),
        "tensor_types": dict(types.most_common()),
        "gguf_version": header.version,
        "byte_order": "little" if header.byte_order == "<" else "big",
        "alignment": header.alignment,
        "layer_path": header.get("layer_path.blocks"),
        "can_be_patched": inspection.refusal is None,
        "refusal": inspection.refusal,
    }
