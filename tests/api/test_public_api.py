"""The public names: they are there, they are cheap to import, and their examples run."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError, UsageError
from tests.conftest import ROOT

pytest.importorskip("llama_cpp", reason="needs the llama extra")

TEXT = b"Once upon a time there was a little girl who liked to play in the park. " * 40


def run_examples(public: object, name: str) -> int:
    """How many there are in the docstrings of a name and its methods. Fails unless they pass."""
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(public, name):
        runner.run(example)
    assert not runner.failures
    return runner.tries


@pytest.mark.parametrize("name", gs.__all__)
def test_every_name_has_examples_that_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run_examples(getattr(gs, name), name)


def test_the_examples_of_the_package_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run_examples(gs, "ggufsurgeon")


def test_there_are_few_names() -> None:
    assert len(gs.__all__) <= 27
    with pytest.raises(AttributeError, match="nonsense"):
        gs.nonsense  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, ggufsurgeon as gs; gs.open; gs.repeat; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_from_a_file_to_a_proven_one(stories: Path, tmp_path: Path) -> None:
    plan = gs.open(stories).plan(gs.repeat("1:3"))
    written = plan.write(tmp_path / "patched.gguf")
    assert written.stat().st_size == plan.n_bytes
    assert {"llama.block_count"} <= {change.after.key for change in plan.changes}
    halves = plan.memory(n_ctx=512, tensor_split=(1, 1)).after
    assert [load.blocks for load in halves] == [(), (0, 1, 2, 3), (4, 5, 6)]
    moved = plan.memory(n_cpu_moe=2, override_tensors=[("attn_q", "CPU")]).after
    assert moved[0].n_bytes_weights > plan.memory().after[0].n_bytes_weights
    sized = plan.memory(device_memory=(2 << 30, 1 << 20)).after
    assert [load.fits for load in sized] == [None, True, False]
    with pytest.raises(UsageError, match="for 2 GPUs, and 1 sizes"):
        plan.memory(tensor_split=(1, 1), device_memory=(1 << 30,))
    verification = gs.verify(written, stories)
    verification.raise_if_failed()
    assert "routed logits of 128 tokens equal to the bit" in verification.proven
    with pytest.raises(RefusedError):
        plan.write(written)


@pytest.mark.parametrize("in_process", [False, True])
def test_a_loaded_model_answers_all_questions(
    stories: Path, tmp_path: Path, in_process: bool
) -> None:
    settings = gs.TextSettings(n_ctx=64, n_chunks=4)
    path = gs.repeat("1:3")
    patched = gs.open(stories).plan(path).write(tmp_path / "patched.gguf")
    with (
        gs.load(stories, in_process=in_process) as model,
        gs.load(patched, in_process=in_process) as written,
    ):
        routed, dropped, again = model.compare(
            TEXT, [path, gs.drop("3:4"), path], settings=settings
        )
        assert (routed.layer_path, dropped.layer_path) == ("0..2,1..4", "0..2,4")
        assert routed == again != dropped
        plain = model.perplexity(TEXT, settings=settings)
        for found, whole in (
            (routed.perplexity, written.perplexity(TEXT, settings=settings)),
            (routed.base_perplexity, plain),
            (dropped.base_perplexity, plain),
        ):
            assert found.value == pytest.approx(whole.value, rel=1e-9)
        assert model.compare(TEXT, [], settings=settings) == ()
        said = model.generate("Once upon a time", path, max_tokens=8).text
        assert said == written.generate("Once upon a time", max_tokens=8).text
        tasks = ROOT / "fixtures/tasks/choices.jsonl"
        (routed_choices,) = model.choose(tasks, [path])
        (plain_choices,) = written.choose(tasks, [gs.LayerPath("0..6")])
        assert routed_choices.task_results == plain_choices.task_results
        with pytest.raises(UsageError, match="reaches past"):
            model.generate("x", gs.repeat("3:9"))
