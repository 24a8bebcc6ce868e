"""RPC servers that stop answering in the middle of a job, and such as are only slow."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import EngineError, UsageError
from ggufsurgeon.workers.worker import Worker
from tests.engine.serving import Relay, fake_server, rpc_server, rpc_server_process
from tests.workers.jobs import add, decode_for, decode_for_ever, is_alive, wait_in_native_code

pytestmark = pytest.mark.slow

LIMIT = 2.0


def test_a_server_that_freezes_while_it_decodes_is_named(stories: Path) -> None:
    with rpc_server_process() as (host, server), Worker() as worker:
        devices = Devices(rpc=(host,), rpc_timeout_s=LIMIT)
        frozen_at = list[float]()

        def freeze(_: object) -> None:
            server.send_signal(signal.SIGSTOP)
            frozen_at.append(time.monotonic())

        pid = worker.pid
        with pytest.raises(UsageError, match=f"no result for 2 seconds.* servers {host}") as caught:
            worker.run(decode_for_ever, stories, devices, on_result=freeze)
        assert LIMIT <= time.monotonic() - frozen_at[0] < LIMIT + 8
        assert "frozen" in caught.value.hint
        assert worker.pid is None and (pid is None or not is_alive(pid))
        with pytest.raises(EngineError, match="ended in an earlier job, decode_for_ever"):
            worker.run(add, 1, 1)


def test_a_server_that_freezes_while_a_model_loads_is_named(smollm2: Path) -> None:
    with rpc_server() as host, fake_server(Relay(host, 20_000_000, stalls=True)) as stalling:
        devices = Devices(rpc=(stalling,), rpc_timeout_s=LIMIT)
        with Worker() as worker, pytest.raises(UsageError, match=f"RPC servers {stalling}"):
            worker.run(decode_for, smollm2, devices, 1.0)


def test_work_that_takes_longer_than_the_limit_is_no_freeze(stories: Path) -> None:
    with rpc_server() as host, Worker() as worker:
        devices = Devices(rpc=(host,), rpc_timeout_s=LIMIT)
        assert worker.run(decode_for, stories, devices, 2 * LIMIT) > 1
        time.sleep(1.5 * LIMIT)  # without a job there is nothing to wait for
        assert worker.run(add, 1, 1) == 2


def test_a_worker_that_was_stopped_itself_blames_no_server(stories: Path) -> None:
    """Ctrl-Z stops a worker with its parent, and they may go on much later."""
    with rpc_server() as host, Worker() as worker:
        devices = Devices(rpc=(host,), rpc_timeout_s=LIMIT)

        def sleep_through(_: object) -> None:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGSTOP)
            time.sleep(2 * LIMIT)
            os.kill(worker.pid, signal.SIGCONT)

        worker.run(wait_in_native_code, stories, devices, 0.5, on_result=sleep_through)


def test_without_servers_nothing_is_limited(stories: Path) -> None:
    with Worker() as worker:
        worker.run(wait_in_native_code, stories, Devices(rpc_timeout_s=0.5), 2.0)
