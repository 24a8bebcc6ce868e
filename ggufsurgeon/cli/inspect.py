"""`ggufsurgeon inspect`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from ggufsurgeon.api import Inspection
from ggufsurgeon.api import inspect as run_inspect
from ggufsurgeon.cli.blocks import blocks_as_json, print_blocks
from ggufsurgeon.cli.options import Json, Source
from ggufsurgeon.cli.terminal import print_json, print_table
from ggufsurgeon.cli.values import value_as_json, value_text
from ggufsurgeon.container.ggml_types import type_name


def inspect(model: Source, json: Json = False) -> None:
    """Show what a GGUF is: its blocks, tensors, metadata, and whether it can be patched."""
    inspection = run_inspect(model)
    facts = _facts(inspection)
    pairs = inspection.file.header.pairs
    if json:
        metadata = {pair.key: value_as_json(pair) for pair in pairs}
        print_json({**facts, **blocks_as_json(inspection), "metadata": metadata})
        return
    print_table(f"{model}", ["", ""], [(key, _text(value)) for key, value in facts.items()])
    print_table("Metadata", ["key", "value"], [(pair.key, value_text(pair)) for pair in pairs])
    print_blocks(inspection)


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


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)
