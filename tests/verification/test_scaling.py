"""gemma3 from and to 62 blocks: weights make up for another query scale, within rounding."""

from __future__ import annotations

import filecmp
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.errors import LostError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.verification.structures.structure import check_metadata, check_tensors
from ggufsurgeon.write_plan import ScaleSpan
from ggufsurgeon.writing.new_file import write_new_file
from tests.calls import patch, plan
from tests.conftest import ROOT, Run
from tests.models.expanding import expand
from tests.models.variants import vary

pytestmark = pytest.mark.slow

HEADER = ROOT / "fixtures/arch_headers/gemma3-dense.gguf"
N_TOKENS = 40
AWAY = LayerPath.of([*range(33), *range(29, 62)])
"""From 62 blocks to 66."""
THERE = LayerPath.of([0, 1, *range(58), 4, 5])
"""From 58 blocks to 62."""
CASES = pytest.mark.parametrize(("n_blocks", "path"), [(62, AWAY), (58, THERE)], ids=["from", "to"])


def model(folder: Path, variant: str) -> Path:
    """Heads of 128, of which the embedding of 256 has room for two, and there is one."""
    header = vary(HEADER, variant, folder / "header.gguf")
    return expand(header, folder / "model.gguf", seed=1)


@CASES
def test_the_logits_are_the_same_within_rounding(
    tmp_path: Path, n_blocks: int, path: LayerPath
) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    from tests.verification.matrix import plain_results, routed_results

    source = model(tmp_path, f"heads=1&blocks={n_blocks}")
    planned = patch(source, tmp_path / "scaled.gguf", path, scale_weights=True)
    spans = [
        replace(s, factor=1.0) if isinstance(s, ScaleSpan) else s for s in planned.write_plan.spans
    ]
    write_new_file(replace(planned.write_plan, spans=tuple(spans)), tmp_path / "unscaled.gguf")
    tokens = np.random.default_rng(1).integers(0, 128, N_TOKENS).astype(np.int32)
    routed = routed_results(source, path, tokens)
    differences = []
    for name in ("scaled", "unscaled"):
        found = plain_results(tmp_path / f"{name}.gguf", tokens)
        squares = np.square(found - routed).mean() / np.square(routed).mean()
        differences.append(float(np.sqrt(squares)))
    scaled, unscaled = differences
    # Rounding that 62 blocks pass on: multiplying by any number and back again costs 3e-6 here.
    assert scaled < 6e-5
    assert unscaled > 2e-4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 62 blocks."""
    return model(tmp_path_factory.mktemp("source"), "heads=1&blocks=62")


@pytest.fixture(scope="module")
def patched(source: Path) -> Path:
    """With 66; tests that damage it mend it again."""
    path = source.with_name("scaled.gguf")
    patch(source, path, AWAY, scale_weights=True)
    return path


@contextmanager
def damaged(path: Path, at: int, content: bytes) -> Iterator[None]:
    """Other bytes at one place of a file, for a while."""
    with path.open("r+b", buffering=0) as file:
        before = os.pread(file.fileno(), len(content), at)
        os.pwrite(file.fileno(), content, at)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), before, at)


def wrong(source: Path, patched: Path) -> str:
    files = open_gguf(patched), open_gguf(source)
    checks = (check_metadata(*files, AWAY), check_tensors(*files, AWAY))
    return "; ".join(check.detail for check in checks if not check.ok)


def test_verify_computes_the_products_anew(source: Path, patched: Path) -> None:
    file = open_gguf(patched)
    assert file.header.get("layer_path.scaled_tensors") == ["attn_q_norm.weight"]
    assert str(file.header.get("layer_path.scaled_by")).startswith("[0.70710678")
    assert not wrong(source, patched)
    detail = check_tensors(file, open_gguf(source), AWAY).detail
    assert "attn_q_norm.weight times 0.707107" in detail


@pytest.mark.parametrize("name", ["blk.0.attn_q_norm.weight", "blk.65.attn_q_norm.weight"])
def test_a_wrong_product_is_found(source: Path, patched: Path, name: str) -> None:
    file = open_gguf(patched)
    index = [tensor.name for tensor in file.header.tensors].index(name)
    at = file.offset_in_file(index)
    with patched.open("rb") as opened:
        opened.seek(at)
        last_bit = bytes([opened.read(1)[0] ^ 1])
    with damaged(patched, at, last_bit):
        assert wrong(source, patched) == f"differ from their source: {name}"


def test_a_wrong_claim_is_found(source: Path, patched: Path) -> None:
    header = patched.read_bytes()[: open_gguf(patched).header_n_bytes]
    factor, key = struct.pack("<d", 2**-0.5), b"layer_path.scaled_tensors"
    assert header.count(factor) == header.count(key) == 1
    with damaged(patched, header.index(factor), struct.pack("<d", 2**-0.4)):
        assert wrong(source, patched) == "layer_path.scaled_by is not as it should be"
    with damaged(patched, header.index(key), key.upper()):
        assert "no exact file exists" in wrong(source, patched)


def test_a_claim_without_cause_is_found(tmp_path: Path) -> None:
    source, patched = model(tmp_path, "heads=1"), tmp_path / "patched.gguf"
    path = LayerPath.of([*range(8), 7])
    patch(source, patched, path, scale_weights=True)
    assert open_gguf(patched).header.get("layer_path.scaled_by") is None
    data = patched.read_bytes()
    patched.write_bytes(data.replace(b"layer_path.source_n_bytes", b"layer_path.scaled_tensors"))
    check = check_metadata(open_gguf(patched), open_gguf(source), path)
    assert check.detail == "layer_path.scaled_tensors is not as it should be"


def test_it_is_offered_and_told(source: Path, surgeon: Run) -> None:
    refused = surgeon("plan", source, "--window", "29:33")
    assert refused.returncode == 4
    assert "scale_weights multiplies attn_q_norm.weight of every block by 0.707107" in (
        refused.stderr
    )
    told = surgeon("plan", source, "--window", "29:33", "--scale-weights")
    assert told.returncode == 0
    text = " ".join(told.stdout.split())
    assert "attn_q_norm.weight of every block multiplied by 0.707107" in text
    assert "not to the bit, and the patch is not reversible" in text
    planned = surgeon("plan", source, "--window", "29:33", "--scale-weights", "--json")
    told_json = json.loads(planned.stdout)
    scales = [span for span in told_json["write_plan"]["spans"] if span["kind"] == "scale"]
    assert len(scales) == 66 and scales[0]["factor"] == pytest.approx(2**-0.5)
    assert "0.707107" in told_json["notes"][0]


def test_there_is_no_way_back_but_a_recipe(source: Path, patched: Path, tmp_path: Path) -> None:
    """Also when the file was patched once more, which can be undone alone."""
    with pytest.raises(LostError, match="no inverse"):
        gs.open(patched).restore(tmp_path / "back.gguf")
    twice = tmp_path / "twice.gguf"
    patch(patched, twice, LayerPath.of([*range(66), 65]))
    assert "no inverse" in gs.open(twice).restore(tmp_path / "once.gguf").remaining
    assert filecmp.cmp(patched, tmp_path / "once.gguf", shallow=False)
    recipe = gs.open(twice).recipe()
    assert [patch.scales_weights for patch in recipe.patches] == [True, False]
    assert recipe.source.sha256 is None
    gs.open(source).plan_recipe(recipe).write(tmp_path / "again.gguf")
    assert filecmp.cmp(twice, tmp_path / "again.gguf", shallow=False)


def test_norms_that_are_not_float32_are_not_offered(tmp_path: Path) -> None:
    header = vary(HEADER, "heads=1&blocks=62", tmp_path / "header.gguf")
    data = header.read_bytes()
    info = b"blk.7.attn_q_norm.weight" + struct.pack("<IQI", 1, 128, 0)
    header.write_bytes(data.replace(info, info[:-4] + struct.pack("<I", 26)))  # I32
    with pytest.raises(RefusedError, match="another query scale") as caught:
        plan(expand(header, tmp_path / "model.gguf", 1), AWAY, scale_weights=True)
    assert "--scale-weights" not in caught.value.hint


def test_where_the_scales_are_equal_nothing_is_refused(tmp_path: Path) -> None:
    planned = plan(model(tmp_path, "blocks=62"), AWAY, scale_weights=True)
    assert not any(isinstance(span, ScaleSpan) for span in planned.write_plan.spans)
