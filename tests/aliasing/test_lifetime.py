"""The source lives as long as a path over it; what is closed raises an error and never crashes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.high_level.llama_over import llama_over
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import UsageError
from tests.aliasing.jobs import TOKENS, logits_of
from tests.aliasing.opening import alias_along, opened_alias
from tests.conftest import ROOT

PATH = "0..2,1..4"
USES_OF_LLAMA: list[Callable[[Any], object]] = [
    lambda llama: llama.create_completion("Once", max_tokens=2),
    lambda llama: llama.create_chat_completion([{"role": "user", "content": "x"}]),
    lambda llama: llama.tokenize(b"x"),
    lambda llama: llama.detokenize([5]),
    lambda llama: llama.eval([1, 2]),
    lambda llama: llama.save_state(),
    lambda llama: llama.token_eos(),
    lambda llama: llama.n_ctx(),
    lambda llama: llama.ctx,
    lambda llama: llama.model,
]


def test_used_after_it_was_closed(stories: Path) -> None:
    with loaded_model(stories, Devices()) as source:
        with alias_along(source, PATH) as model, opened_context(model, 64, 64) as context:
            llama = model.llama(n_ctx=64)
            model.free()
            check_closed(lambda: context.decode(Batch.of(TOKENS)))
        check_closed(lambda: logits_of(model))
        check_closed(lambda: model.tokenize(b"x"))
        check_closed(lambda: model.llama(n_ctx=64))
        for use in USES_OF_LLAMA:
            check_closed(lambda use=use: use(llama))  # type: ignore[misc]
        llama.close()
        assert np.isfinite(logits_of(source)).all()


def check_closed(use: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"no longer loaded|is closed"):
        use()


def test_a_source_closed_while_a_path_over_it_lives(stories: Path) -> None:
    """It takes the path and its contexts along, in order."""
    with ExitStack() as stack:
        source = stack.enter_context(loaded_model(stories, Devices()))
        model = alias_along(source, PATH)
        llamas = [model.llama(n_ctx=64), llama_over(source, n_ctx=64)]
        assert [llama.create_completion("Once", max_tokens=2) for llama in llamas]
        source.free()
        check_closed(lambda: logits_of(model))
        check_closed(lambda: alias_along(source, PATH))
        for use in USES_OF_LLAMA:
            for llama in llamas:
                check_closed(lambda use=use, llama=llama: use(llama))  # type: ignore[misc]
        model.free()


def test_a_llama_that_was_closed_by_itself(stories: Path) -> None:
    with opened_alias(stories, PATH) as (_, model):
        first, second = (model.llama(n_ctx=64) for _ in range(2))
        first.close()
        check_closed(lambda: first.eval([1]))
        assert second.create_completion("Once", max_tokens=2)["choices"][0]["text"]
        second.close()
        second.close()


def test_what_is_forgotten_is_freed(stories: Path) -> None:
    with loaded_model(stories, Devices()) as source:
        model = alias_along(source, PATH)
        llama = model.llama(n_ctx=64)
        kept = weakref.ref(model.native)
        del model
        gc.collect()
        assert kept() is not None, "its llama keeps it"
        assert llama.create_completion("Once", max_tokens=2)["choices"][0]["text"]
        del llama
        gc.collect()
        assert kept() is None
        assert np.isfinite(logits_of(source)).all()


def test_one_decode_at_a_time_from_many_threads(stories: Path) -> None:
    """Aliased models of one source, and the source, keep their results apart."""
    paths = [PATH, "0..4", "4,3,2,1,0", "0..3,2..4"]
    with loaded_model(stories, Devices(n_threads=1)) as source:
        models = [alias_along(source, path) for path in paths] + [source]
        expected = [logits_of(model) for model in models]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(4):
                assert all(map(np.array_equal, pool.map(logits_of, models), expected))


@pytest.mark.parametrize("of", ["a llama", "a context"])
def test_a_decode_waits_for_the_lock_of_its_source(of: str, stories: Path) -> None:
    with opened_alias(stories, PATH) as (source, model), opened_context(model, 64, 64) as context:
        llama = model.llama(n_ctx=64)
        done = threading.Event()

        def decode() -> None:
            if of == "a llama":
                llama.eval([1, 2, 3])
            else:
                context.decode(Batch.of(TOKENS))
            done.set()

        thread = threading.Thread(target=decode)
        with source.native.lock:
            thread.start()
            assert not done.wait(0.3)
        thread.join()
        assert done.is_set()


SCRIPTS = {
    "all left open": "",
    "closed in the wrong order": "source.free(); model.free(); llama.close()",
    "the source forgotten": "del source; gc.collect(); llama.eval([1, 2])",
    "a cycle": "model.own = [model, llama, source]; llama.own = model; del model, llama, source",
    "a stream left half way": "stream = llama.create_completion('Once', stream=True); next(stream)",
    "a thread that still decodes": "threading.Thread(target=decode_forever, daemon=True).start(); "
    "time.sleep(0.5)",
    "closed while a thread decodes": "thread = threading.Thread(target=decode_forever); "
    "thread.start(); time.sleep(0.5); source.free(); thread.join()",
}
BEGIN = """
import gc, threading, time
from contextlib import ExitStack
from pathlib import Path
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import UsageError
from tests.aliasing.opening import alias_along
stack = ExitStack()
source = stack.enter_context(loaded_model(Path("fixtures/stories260K.gguf"), Devices()))
model = alias_along(source, "0..2,1..4")
llama = model.llama(n_ctx=64)
def decode_forever():
    try:
        while True:
            llama.reset(); llama.eval([1, 2, 3])
    except UsageError:
        pass
"""


@pytest.mark.parametrize("ends", SCRIPTS)
def test_the_interpreter_ends_in_order(ends: str) -> None:
    script = BEGIN + SCRIPTS[ends] + "\nprint('ended')"
    command = [sys.executable, "-X", "faulthandler", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
