"""Metadata that no fixture has: arrays of the wrong length or kind, odd periods, odd counts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.values import (
    ValueType,
    encode_array_prefix,
    encode_string,
)
from ggufsurgeon.container.layout import pad
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.edits import AnyPath, Drop, drop, repeat
from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import patch, plan
from tests.conftest import ROOT, Run
from tests.models.expanding import expand
from tests.models.variants import vary

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A model by the name of its header and a variant."""

    def of(name: str) -> Path:
        stem, _, variant = name.partition("@")
        header = ROOT / f"fixtures/arch_headers/{stem}.gguf"
        return expand(vary(header, variant, tmp_path / "header"), tmp_path / "model.gguf", 0)

    return of


def with_array(path: Path, suffix: str, kind: ValueType) -> Path:
    """The model with an array of 8 strings or floats under a key."""
    header, _ = parse_header(path.read_bytes(), "model")
    key = f"{header.architecture}.{suffix}"
    elements = {
        ValueType.STRING: encode_string("1", "<") * 8,
        ValueType.FLOAT32: struct.pack("<8f", *[1.0] * 8),
    }
    array = encode_array_prefix(kind, 8, "<") + elements[kind]
    kept = [pair for pair in header.pairs if pair.key != key]
    pairs = (*kept, make_pair(key, ValueType.ARRAY, array, "<"))
    raw = serialize_header(replace(header, pairs=pairs))
    path.write_bytes(raw + bytes(pad(len(raw), 32) - len(raw)))
    return expand(path, path.with_name("changed.gguf"), 0)


@pytest.mark.parametrize(
    "name",
    [
        "dots3note-moe@array=attention.indexer.types:1,0,1,0,1,0,1",
        "lfm2-dense@array=attention.head_count_kv:0,2,2,0",
        "kimi-linear-moe@array=attention.head_count_kv:0,2",
        "qwen35-dense@array=attention.recurrent_layers:1,1",
        "glm-dsa-moe@array=attention.indexer.types:1,0",
        "qwen35-dense@absent=attention.recurrent_layers&set=full_attention_interval:0",
        "granite_swa-dense@array=attention.rope_pattern:1,0,1",
        "granite-dense@array=deepstack_mapping:-1,-1",
    ],
)
def test_too_few_elements_are_refused(make: Make, surgeon: Run, name: str) -> None:
    path = make(name)
    with pytest.raises(RefusedError, match=r"elements for \d blocks|interval is 0"):
        plan(path, LayerPath("0..3,2..7"))
    done = surgeon("inspect", path)
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "suffix", "kind"),
    [
        ("lfm2-dense", "attention.head_count_kv", ValueType.FLOAT32),
        ("granite-dense", "deepstack_mapping", ValueType.FLOAT32),
        ("granite-dense", "deepstack_mapping", ValueType.STRING),
        ("gemma3-dense", "attention.sliding_window_pattern", ValueType.STRING),
        ("qwen35-dense", "attention.recurrent_layers", ValueType.STRING),
        ("glm-dsa-moe", "attention.indexer.types", ValueType.STRING),
    ],
)
def test_other_elements_are_refused(
    make: Make, surgeon: Run, name: str, suffix: str, kind: ValueType
) -> None:
    path = with_array(make(name), suffix, kind)
    with pytest.raises(RefusedError, match="something else than the numbers"):
        plan(path, LayerPath("0..3,2..7"))
    done = surgeon("inspect", path)
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_a_router_takes_a_layer(make: Make) -> None:
    path = make("graniteswitch-dense")
    plan(path, LayerPath(",".join(["0..7"] * 63 + ["0..6"])))
    with pytest.raises(RefusedError, match=r"512 blocks; llama\.cpp does not run more than 511"):
        plan(path, repeat((0, 8), times=64))


def test_an_array_that_converters_write_and_nobody_reads_stays_parallel(make: Make) -> None:
    values = ",".join(str(n % 3) for n in range(24))
    path = make(f"gemma3n-dense@array=activation_sparsity_scale:{values}")
    planned = plan(path, repeat((21, 23)))
    (after,) = (c.after for c in planned.changes if "sparsity" in c.after.key)
    assert after.value == [n % 3 for n in [*range(23), 21, 22, 23]]


@pytest.mark.parametrize(
    "name",
    [
        "exaone4-dense@blocks=65&set=nextn_predict_layers:1",
        "hrm_text-dense",
        "gemma3-dense@array=unheard_of:1,2,3",
    ],
)
def test_the_identity_path_is_never_refused(make: Make, name: str, tmp_path: Path) -> None:
    path = make(name)
    n_trunk = gs.open(path).inspect().blocks
    assert n_trunk is not None
    patch(path, tmp_path / "same.gguf", LayerPath.identity(n_trunk.n_trunk))
    assert (tmp_path / "same.gguf").read_bytes() == path.read_bytes()


def test_windows_of_exaone4_32b_follow_the_path(make: Make) -> None:
    path = make("exaone4-dense@blocks=64")
    assert plan(path, LayerPath("0..3,0..3,8..63")).notes == ()
    assert plan(path, LayerPath("1..63,0")).notes != ()
    with pytest.raises(RefusedError, match="32B"):
        plan(path, LayerPath("0..62"))


def test_smallthinker_without_windows_has_no_trap(make: Make) -> None:
    plan(make("smallthinker-moe@set=attention.sliding_window:0"), LayerPath("4..7"))
    with pytest.raises(RefusedError, match="RoPE in every block"):
        plan(make("smallthinker-moe"), LayerPath("4..7"))


@pytest.mark.parametrize(
    ("name", "request_", "says"),
    [
        (
            "llama4-moe@set=attention.sliding_window:0",
            repeat((5, 8)),
            "Windows inside 0:7 work.",
        ),
        ("smollm3-dense", repeat((0, 3), times=3), "Nearest windows that work: 0:4, "),
        ("smollm3-dense", drop((1, 3)), "Nearest windows that work: 0:4, "),
        ("qwen3vl-dense@set=n_deepstack_layers:9", repeat((1, 2)), "no other path works"),
    ],
)
def test_hints_name_what_works(make: Make, name: str, request_: AnyPath, says: str) -> None:
    path = make(name)
    with pytest.raises(RefusedError) as caught:
        plan(path, request_)
    assert says in caught.value.hint
    if "Nearest" in says:
        works = drop((0, 4)) if isinstance(request_, Drop) else repeat((0, 4), times=3)
        plan(path, works)


def test_a_model_without_experts_is_not_called_moe(make: Make) -> None:
    dense = gs.open(make("llama4-moe@set=interleave_moe_layer_step:0")).inspect()
    assert not any("MoE" in kind for kind in dense.kinds)
    moe = gs.open(make("glm4moe-moe")).inspect()
    assert {"dense", "MoE"} <= set(moe.kinds)
