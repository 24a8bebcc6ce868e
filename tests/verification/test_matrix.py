"""Law 7, for what the table holds: a written file computes what routing computes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.codec import parse_header
from tests.conftest import ROOT

pytest.importorskip("llama_cpp", reason="needs the llama extra")

ALL = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))
ARCHITECTURE_OF = {
    path: str(parse_header(path.read_bytes(), path.name)[0].architecture) for path in ALL
}
KNOWN = [path for path in ALL if ARCHITECTURE_OF[path] in ARCHITECTURES]
UNTRIED = {"bitnet", "chameleon", "graniteswitch", "llama-embed", "plm", "rwkv6qwen2"}
"""In the table by reading alone: llama.cpp's test writes no model of them."""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.verification.matrix", *map(str, KNOWN)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["header"]: line for line in lines}
    missing = [path.stem for path in KNOWN if path.stem not in found]
    assert not missing, f"the process ended at {missing[0]}: {done.stderr[-2000:]}"
    return found


@pytest.mark.parametrize("stem", [path.stem for path in KNOWN])
def test_written_equals_routed(outcomes: dict[str, Any], stem: str) -> None:
    outcome = outcomes[stem]
    assert "refused" not in outcome
    assert set(outcome["differences"].values()) == {0.0}
    assert outcome["least_effect"] > 0, "the path changed nothing: this test could not fail"


def test_every_row_of_the_table_was_run_or_is_named() -> None:
    assert ARCHITECTURES.keys() - {ARCHITECTURE_OF[path] for path in KNOWN} == UNTRIED


@pytest.mark.parametrize(
    "stem", [path.stem for path in ALL if ARCHITECTURE_OF[path] not in ARCHITECTURES]
)
def test_all_others_are_refused_by_name(stem: str) -> None:
    from ggufsurgeon.architectures.table import find_architecture
    from ggufsurgeon.errors import RefusedError

    path = ROOT / f"fixtures/arch_headers/{stem}.gguf"
    with pytest.raises(RefusedError, match=f"'{ARCHITECTURE_OF[path]}'"):
        find_architecture(ARCHITECTURE_OF[path])
