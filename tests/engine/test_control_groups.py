"""Limits of containers: free memory and CPU quotas, from both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufsurgeon.engine.devices.system_memory import free_in_system
from ggufsurgeon.engine.limits.control_groups import control_groups
from ggufsurgeon.engine.limits.threads import cpu_quota
from tests.engine.made_groups import memory_limits, proc_of, put, real_group, run_in

V2 = "30 23 0:26 / FOLDER/cg rw - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:27 / FOLDER/cg rw - tmpfs tmpfs rw\n"
    "32 31 0:28 / FOLDER/cg/memory rw - cgroup cgroup rw,memory\n"
    "33 31 0:29 / FOLDER/cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
GIB = 1 << 30
MEMINFO = f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {32 * GIB // 1024} kB\n"


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, "", "", MEMINFO)
    assert control_groups("memory", proc) == ()
    assert free_in_system(proc) == 32 * GIB
    assert cpu_quota(proc) == float("inf")
    assert control_groups("memory", tmp_path / "nowhere") == ()
    assert free_in_system(tmp_path / "nowhere") > 0


@pytest.mark.parametrize("inner", [str(8 * GIB), "max"])
def test_version_2_the_smallest_of_all_levels(tmp_path: Path, inner: str) -> None:
    proc = proc_of(tmp_path, "0::/kube/pod/app\n", V2, MEMINFO)
    stat = f"anon 5\nfile {2 * GIB}\nactive_file {GIB}\ninactive_file {GIB}\nshmem 0"
    files = {
        "kube/memory.max": str(6 * GIB),
        "kube/memory.current": str(5 * GIB),
        "kube/memory.stat": stat,
        "kube/pod/app/memory.max": inner,
        "kube/pod/app/memory.current": str(GIB),
        "kube/pod/app/memory.stat": "",
        "kube/cpu.max": "150000 100000",
        "kube/pod/app/cpu.max": "max 100000",
    }
    put(tmp_path / "cg", files)
    assert free_in_system(proc) == 3 * GIB  # 6 less 5, of which 2 are file cache
    assert cpu_quota(proc) == 1.5


def test_version_2_slows_down_above_high(tmp_path: Path) -> None:
    proc = proc_of(tmp_path, "0::/app\n", V2, MEMINFO)
    put(tmp_path / "cg/app", {"memory.max": str(8 * GIB), "memory.high": str(2 * GIB)})
    put(tmp_path / "cg/app", {"memory.current": str(3 * GIB), "memory.stat": "file 0"})
    assert free_in_system(proc) == 0


def test_version_1(tmp_path: Path) -> None:
    lines = "9:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n1:name=systemd:/docker/a\n0::/\n"
    proc = proc_of(tmp_path, lines, V1 + V2.replace("/cg", "/cg/unified"), MEMINFO)
    memory = {
        "docker/a/memory.limit_in_bytes": str(4 * GIB),
        "docker/a/memory.usage_in_bytes": str(2 * GIB),
        "docker/a/memory.stat": f"cache 7\ntotal_active_file 0\ntotal_inactive_file {GIB}",
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.usage_in_bytes": str(60 * GIB),
    }
    put(tmp_path / "cg/memory", memory)
    cpu = {
        "docker/a/cpu.cfs_quota_us": "-1",
        "docker/a/cpu.cfs_period_us": "100000",
        "docker/cpu.cfs_quota_us": "50000",
        "docker/cpu.cfs_period_us": "100000",
    }
    put(tmp_path / "cg/cpu,cpuacct", cpu)
    assert free_in_system(proc) == 3 * GIB
    assert cpu_quota(proc) == 0.5


@pytest.mark.parametrize("path", ["/docker/a/sub", "/docker/a", "/../../other"])
def test_a_container_that_sees_its_own_group_as_the_root(tmp_path: Path, path: str) -> None:
    """Either the mount names the group, or a namespace hides what lies above."""
    root = "/" if path.startswith("/..") else "/docker/a"
    mount = V2.replace(" / ", f" {root} ")
    proc = proc_of(tmp_path, f"0::{path}\n", mount, MEMINFO)
    put(
        tmp_path / "cg", {"memory.max": str(GIB), "memory.current": "0", "cpu.max": "200000 100000"}
    )
    assert free_in_system(proc) == GIB
    assert cpu_quota(proc) == 2.0


@pytest.mark.parametrize(("quota_us", "expected"), [(50_000, "1"), (1_000_000, None)])
def test_a_real_quota_bounds_the_threads(quota_us: int, expected: str | None) -> None:
    code = "from ggufsurgeon.engine.limits.threads import default_threads; print(default_threads())"
    limits = {
        1: {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": str(quota_us)},
        2: {"cpu.max": f"{quota_us} 100000"},
    }
    with real_group("cpu", limits) as joins:
        assert run_in(joins, code) == (expected or run_in("", code))


def test_a_real_limit_bounds_the_free_memory() -> None:
    module = "ggufsurgeon.engine.devices.system_memory"
    code = f"from {module} import free_in_system; print(free_in_system())"
    limit = 300 << 20
    with real_group("memory", memory_limits(limit)) as joins:
        assert limit / 2 < int(run_in(joins, code)) < limit
