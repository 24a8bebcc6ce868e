"""Processes killed for lack of memory, and by others: what the kernel counts tells them apart."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.errors import OutOfMemoryError
from ggufsurgeon.workers.memory_kills import cause_of_kill, count_memory_kills
from ggufsurgeon.workers.worker import Worker
from tests.engine.made_groups import memory_limits, proc_of, put, real_group, run_in
from tests.workers.jobs import die

V2 = "30 23 0:26 / FOLDER/cg rw - cgroup2 cgroup2 rw\n"
V1 = "32 31 0:28 / FOLDER/cg rw - cgroup cgroup rw,memory\n"
LIMIT = str(3 << 30)


def events(oom: int, killed: int) -> str:
    return f"low 0\nmax 9\noom {oom}\noom_kill {killed}"


def test_version_2_tells_whose_memory_ran_out(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, "0::/pod/app\n", V2)
    put(tmp_path / "cg", {"pod/memory.max": LIMIT, "pod/app/memory.max": "max"})
    put(tmp_path / "cg", {"pod/memory.events": events(1, 1), "pod/app/memory.events": events(0, 0)})
    before = count_memory_kills(proc)
    assert "not by the kernel" in cause_of_kill(before, proc)[0]
    put(tmp_path / "cg", {"pod/app/memory.events": events(0, 1)})
    assert "memory of this machine ran out" in cause_of_kill(before, proc)[0]
    put(tmp_path / "cg", {"pod/memory.events": events(2, 2)})
    cause, hint = cause_of_kill(before, proc)
    assert f"limit of its container was reached (3,072 MiB, {tmp_path}/cg/pod)" in cause
    assert hint == "Raise it, or "


def test_version_1_tells_whose_memory_ran_out(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, "4:memory:/app\n0::/\n", V1)
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill"
    files = {"memory.limit_in_bytes": LIMIT, "memory.failcnt": "5"}
    put(tmp_path / "cg/app", {**files, "memory.oom_control": f"{control} 0"})
    before = count_memory_kills(proc)
    put(tmp_path / "cg/app", {"memory.oom_control": f"{control} 1"})
    assert "memory of this machine ran out" in cause_of_kill(before, proc)[0]
    put(tmp_path / "cg/app", {"memory.failcnt": "6"})
    assert "3,072 MiB" in cause_of_kill(before, proc)[0]


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, "", "")
    assert "systems do so when memory runs out" in cause_of_kill(count_memory_kills(proc), proc)[0]
    put(proc, {"vmstat": "pgfault 1\noom_kill 3"})
    before = count_memory_kills(proc)
    assert "not by the kernel" in cause_of_kill(before, proc)[0]
    put(proc, {"vmstat": "oom_kill 4"})
    assert "memory of this machine ran out" in cause_of_kill(before, proc)[0]


def test_who_is_killed_by_another_is_not_said_to_have_used_up_memory() -> None:
    with Worker() as worker, pytest.raises(OutOfMemoryError, match=r"killed \(SIGKILL\)") as caught:
        worker.run(die, signal.SIGKILL)
    assert caught.value.exit_code == 6
    assert "ran out" not in str(caught.value) and "use less memory" in caught.value.hint.lower()


CODE = """
from ggufsurgeon.errors import OutOfMemoryError
from ggufsurgeon.workers.worker import Worker
from tests.workers.jobs import fill_memory
try:
    with Worker() as worker:
        worker.run(fill_memory)
except OutOfMemoryError as error:
    print(error, error.hint)
"""


def test_a_real_limit_that_is_reached_is_named() -> None:
    with real_group("memory", memory_limits(300 << 20)) as joins:
        told = run_in(joins, CODE)
    assert "in the job fill_memory: the memory limit of its container was reached (300 MiB" in told
    assert "Raise it, or use less memory: a smaller context" in told
