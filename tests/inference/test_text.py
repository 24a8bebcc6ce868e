"""Generated text: aliased, routed and written say the same; what has no alias is routed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import ggufsurgeon as gs
from tests.models.expanding import expand_named

MODELS = {
    "stories260K": "0..2,1..4",
    "gemma3-dense@words=stories260K": "0..4,3..7",
    "qwen3moe-moe@words=stories260K": "0..2,1..7",
    "falcon-h1-dense@words=stories260K": "0..5,4..7",
    "mamba-dense@words=stories260K": "0..6,5..7",
    "glm4moe-moe@words=stories260K": "0..6,5..6",
}


@pytest.mark.parametrize("name", MODELS)
def test_three_executions_say_the_same(name: str, stories: Path, tmp_path: Path) -> None:
    model = stories if name == "stories260K" else expand_named(name, tmp_path / "model.gguf")
    path = gs.LayerPath(MODELS[name])
    gs.open(model).plan(path).write(tmp_path / "written.gguf")
    hot = gs.Sampling(temperature=1.0, seed=7)
    with gs.load(model) as loaded, gs.load(tmp_path / "written.gguf") as written:
        for sampling in (gs.Sampling(), hot):
            ways = [
                loaded.generate("Once upon", path, max_tokens=16, sampling=sampling),
                loaded.generate("Once upon", path, max_tokens=16, sampling=sampling, routed=True),
                written.generate("Once upon", max_tokens=16, sampling=sampling),
            ]
            assert len({one.tokens for one in ways}) == 1
            assert [one.execution for one in ways] == ["aliased", "routed", "plain"]
            assert all(one.why_routed == "" for one in ways)


def test_without_a_file_in_memory_it_is_routed(
    stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gs.load(stories, in_process=True) as model:
        aliased = model.generate("Once", gs.repeat("1:3"), max_tokens=8)
        monkeypatch.delattr(os, "memfd_create")
        routed = model.generate("Once", gs.repeat("1:3"), max_tokens=8)
    assert (aliased.execution, routed.execution) == ("aliased", "routed")
    assert "memfd_create" in routed.why_routed and routed.tokens == aliased.tokens


def test_a_path_without_an_exact_file_is_routed(tmp_path: Path) -> None:
    model = expand_named("minimax-01-moe@words=stories260K", tmp_path / "model.gguf")
    with gs.load(model) as loaded:
        told = loaded.generate("Once", gs.repeat("4:6"), max_tokens=4)
    assert told.execution == "routed" and "linear attention" in told.why_routed


def test_an_aliased_model_is_of_the_process_that_has_its_source(stories: Path) -> None:
    with gs.load(stories) as model, pytest.raises(gs.GgufSurgeonError, match="of the process"):
        model.aliased(gs.repeat("1:3"))
    with gs.load(stories, in_process=True) as model:
        rys, short = model.aliased(gs.repeat("1:3")), model.aliased(gs.drop("1:4"))
        said = {
            one.llama(n_ctx=64).create_completion("Once", max_tokens=12, temperature=0)["choices"][
                0
            ]["text"]
            for one in (rys, short)
        }
        assert len(said) == 2
    with pytest.raises(gs.GgufSurgeonError, match="no longer loaded"):
        rys.llama(n_ctx=64)
