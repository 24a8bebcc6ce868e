"""The law for every architecture of the fixtures: what moves, and what stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.ggml_types import tensor_n_bytes
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.write_plan import GatherSpan
from tests.conftest import ROOT
from tests.in_place.disks import skip_unless_inserting
from tests.models.in_memory import run

HEADERS = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))


def filled(path: Path, header_path: Path) -> bytes:
    """A model of a header, whose data are random bytes."""
    raw = header_path.read_bytes()
    header, _ = parse_header(raw, "header")
    last = header.tensors[-1]
    n_bytes = tensor_n_bytes(last.dims, last.type_id)
    assert n_bytes is not None
    data = raw + os.urandom(last.offset_in_data + n_bytes)
    path.write_bytes(data)
    return data


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
def test_every_architecture(tmp_path: Path, share: int) -> None:
    skip_unless_inserting(tmp_path)
    n_inserted = n_moved = 0
    for header in HEADERS[share::4]:
        path = tmp_path / header.name
        data = filled(path, header)
        for window in ("1:2", "2:4", "0:1"):
            try:
                plan = gs.open(path).plan(gs.repeat(window))
                method = plan.choose_in_place()
            except RefusedError:
                continue
            expected = run(plan.planned.write_plan, data)
            assert method is not None
            moves = any(isinstance(span, GatherSpan) for span in plan.planned.write_plan.spans)
            assert (method.edit is None) == moves, (header.name, method.why_new_file)
            assert plan.write_in_place() is not None
            assert path.read_bytes() == expected, header.name
            n_inserted += not moves
            n_moved += moves
            break
        path.unlink()
    assert n_inserted > 25, (n_inserted, n_moved)
