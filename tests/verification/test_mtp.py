"""What llama.cpp does with files whose MTP block is there, absent, and no longer counted."""

from __future__ import annotations

from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import MalformedFileError
from tests.models.expanding import expand_named

pytest.importorskip("llama_cpp", reason="needs the llama extra")

QWEN35 = "qwen35-dense@" + "&".join(
    [
        *(f"absent={key}" for key in ("attention.recurrent_layers", "swiglu_clamp_exp")),
        *("absent=swiglu_clamp_shexp", "set=full_attention_interval:2"),
    ]
)
"""Without arrays with an element for each block, as converters write it."""


def n_blocks_run(path: Path) -> int:
    from ggufsurgeon.engine.model import Devices, loaded_model

    with loaded_model(path, Devices()) as model:
        return int(model.n_blocks)


@pytest.mark.slow
def test_a_model_with_its_mtp_block_is_exact(tmp_path: Path) -> None:
    source = expand_named(f"{QWEN35}&mtp=1", tmp_path / "source.gguf")
    patched = gs.open(source).plan(gs.repeat("2:4")).write(tmp_path / "patched.gguf")
    outcome = gs.verify(patched, source, devices=gs.Devices(n_threads=1))
    assert outcome.ok and not outcome.unproven
    assert outcome.layer_path == "0..3,2..8"


def test_a_file_without_it_loads_once_two_keys_are_changed(tmp_path: Path) -> None:
    source = expand_named(f"{QWEN35}&trunk=1", tmp_path / "source.gguf")
    with pytest.raises(MalformedFileError, match=r"tensor 'blk\.7\.attn_norm\.weight' not found"):
        n_blocks_run(source)
    with pytest.raises(MalformedFileError) as caught:
        gs.open(source).plan(gs.repeat("1:3"))
    assert "qwen35.block_count = 7, qwen35.nextn_predict_layers = 0" in caught.value.hint
    set_number(source, "qwen35.block_count", 7)
    with pytest.raises(MalformedFileError, match="cannot load it"):
        n_blocks_run(source)
    set_number(source, "qwen35.nextn_predict_layers", 0)
    assert n_blocks_run(source) == 7
    patched = gs.open(source).plan(gs.repeat("1:3")).write(tmp_path / "patched.gguf")
    assert n_blocks_run(patched) == 9


def set_number(path: Path, key: str, number: int) -> None:
    """Change a number of the metadata, as gguf-set-metadata does."""
    from gguf import GGUFReader

    field = GGUFReader(path, "r+").fields[key]
    field.parts[field.data[0]][0] = number


def test_architectures_that_leave_it_out_load_without(tmp_path: Path) -> None:
    source = expand_named("glm4moe-moe@trunk=1", tmp_path / "source.gguf")
    assert n_blocks_run(source) == 7
    patched = gs.open(source).plan(gs.repeat("2:3")).write(tmp_path / "patched.gguf")
    assert n_blocks_run(patched) == 8
