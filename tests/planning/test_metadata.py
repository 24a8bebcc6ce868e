"""Descriptive fields and provenance."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.headers.header import TensorInfo
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.naming import size_label
from tests.conftest import ROOT
from tests.models.builders import STRING, U32, llama_model, pair
from tests.models.in_memory import patched_header


def test_descriptive_fields_follow() -> None:
    more = (
        pair("general.size_label", STRING, "0.1K"),
        pair("general.parameter_count", U32, 63),
    )
    header = patched_header(llama_model(3, *more), LayerPath.of([0, 1, 1, 2]))
    assert header.get("general.name") == "Tiny (blocks 0..1,1..2)"
    assert header.get("general.parameter_count") == 8 + 4 * 11 + 8
    assert header.get("general.size_label") == "0.06K"
    long = patched_header(llama_model(3), LayerPath.of([0, 2, 1] * 20))
    assert long.get("general.name") == "Tiny (60 blocks)"


def test_size_labels_are_ggufs(stories: Path) -> None:
    from gguf import GGUFWriter
    from gguf.utility import size_label as expected

    for path in (stories, *sorted((ROOT / "fixtures/arch_headers").glob("*-moe.gguf"))[:12]):
        header = parse_header(path.read_bytes(), str(path))[0]
        writer = GGUFWriter(None, "any")
        for tensor in header.tensors:
            writer.add_tensor_info(tensor.name, tensor.dims[::-1], *_float32())
        assert size_label(header.tensors) == expected(*writer.get_total_parameter_count())


def test_rounded_counts_are_ggufs() -> None:
    from gguf.utility import size_label as expected

    for exponent in range(14):
        for factor in (0, 0.94, 0.96, 0.994, 0.996, 1, 1.5, 9.4, 9.6):
            count = int(factor * 10**exponent)
            assert size_label([TensorInfo("a", (count,), 0, 0)]) == expected(count, 0, 0, 0), count


def _float32() -> tuple[object, int]:
    import numpy as np

    return np.dtype(np.float32), 0


def test_provenance_names_its_source() -> None:
    header = patched_header(llama_model(3), LayerPath.of([0, 1, 1, 2]))
    assert header.get("layer_path.blocks") == "0..1,1..2"
    source_header = serialize_header(parse_header(llama_model(3), "source")[0])
    digest = hashlib.sha256(source_header).hexdigest()
    assert header.get("layer_path.source_header_sha256") == digest
    assert header.get("layer_path.source_n_bytes") == len(llama_model(3))
    assert str(header.get("layer_path.tool")).startswith("ggufsurgeon ")


def test_anothers_keys_pass_through() -> None:
    header = patched_header(
        llama_model(3, pair("ggufsurgeon.padding", STRING, "x" * 70)), LayerPath.of([0, 0, 1, 2])
    )
    assert header.get("ggufsurgeon.padding") == "x" * 70
