"""Models, contexts and sessions: kept while they are open, and an error afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

import numpy as np

from ggufsurgeon.engine.context import Batch, opened_context
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.engine.stopping import JobStoppedError, clear_stop, request_stop
from ggufsurgeon.errors import UsageError
from ggufsurgeon.workers.runner import InProcess
from ggufsurgeon.workers.session import Session
from ggufsurgeon.workers.worker import Worker
from tests.engine.serving import rpc_server
from tests.workers.jobs import TOKENS, model_id, release_in_use, use_of


def test_a_context_used_after_its_block(stories: Path) -> None:
    with loaded_model(stories, Devices()) as model:
        with opened_context(model, 256, 256) as context:
            context.decode(Batch.of(TOKENS))
        for use in (
            lambda: context.decode(Batch.of(TOKENS)),
            context.clear,
            lambda: context.sample(None),
            lambda: context.handle,
        ):
            with pytest.raises(UsageError, match="is closed"):
                use()


def test_a_model_used_after_its_block(stories: Path) -> None:
    with loaded_model(stories, Devices()) as model:
        assert model.tokenize(b"x").dtype == np.int32
    for use in (
        lambda: model.tokenize(b"x"),
        lambda: model.text_of(5),
        lambda: model.ends_generation(5),
        lambda: model.no_text,
        lambda: model.has_state,
        lambda: model.handle,
    ):
        with pytest.raises(UsageError, match="no longer loaded"):
            use()
    with pytest.raises(UsageError, match="no longer loaded"), opened_context(model, 8, 8):
        pass


def test_a_session_used_after_its_block(stories: Path) -> None:
    with Session() as session:
        assert session.model(stories, Devices()) is session.model(stories, Devices())
    with pytest.raises(UsageError, match="the session is closed"):
        session.model(stories, Devices())
    with InProcess() as runner:
        runner.run(model_id, stories)
    with pytest.raises(UsageError, match="the session is closed"):
        runner.run(model_id, stories)


def test_a_released_model_takes_its_contexts_along(stories: Path) -> None:
    """llama.cpp would read freed memory."""
    with Worker() as worker, pytest.raises(UsageError, match=r"the context of .* is closed"):
        worker.run(release_in_use, stories)


def test_a_model_runs_on_the_servers_that_were_named_for_it(stories: Path) -> None:
    """Servers stay registered in a process; llama.cpp would use them for every later model."""
    plain, others = Devices(), Devices(n_threads=1)
    with rpc_server() as host, rpc_server() as second, Worker() as worker:
        there = Devices(rpc=(host,))
        both = Devices(rpc=(host, second))
        seen = [
            [use.device for use in worker.run(use_of, stories, devices) if use.blocks]
            for devices in (plain, there, both, others, Devices(rpc=(second,)))
        ]
        assert seen == [["CPU"], ["RPC0"], ["RPC0", "RPC1"], ["CPU"], ["RPC1"]]
        with pytest.raises(UsageError, match=r"names 2 devices, and llama.cpp finds 1 GPUs: RPC1"):
            worker.run(use_of, stories, Devices(rpc=(second,), tensor_split=(1, 1)))


def test_a_split_without_a_gpu_is_refused(stories: Path) -> None:
    with Session() as session, pytest.raises(UsageError, match=r"llama.cpp finds 0 GPUs"):
        session.model(stories, Devices(tensor_split=(1.0,)))


def test_a_load_is_stopped_too(stories: Path) -> None:
    request_stop()
    try:
        with Session() as session, pytest.raises(JobStoppedError):
            session.model(stories, Devices())
    finally:
        clear_stop()
    with Session() as session:
        assert session.model(stories, Devices()).n_blocks == 5
