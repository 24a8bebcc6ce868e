"""Timing programs on model files, in rounds. Shared by the benchmarks of files."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

N_BLOCKS = 32
N_TOKENS, N_MERGES = 151_936, 151_387
WINDOW = "12:19"
N_REPEATED = 7
TENSORS_A_BLOCK = 9
Q8_0_BLOCK_N_BYTES = 34
SURGEON = (sys.executable, "-m", "ggufsurgeon")


class Program(NamedTuple):
    """A command, the files that it reads and those that it writes, with `*` in their names."""

    command: Sequence[str]
    inputs: Sequence[Path]
    outputs: Sequence[Path] = ()


class Run(NamedTuple):
    """One run of a program, with its output synced to disk."""

    seconds: float
    peak_mb: float


def make_model(path: Path, n_bytes: int) -> None:
    """Random quantized weights; the metadata of a Qwen-sized vocabulary."""
    writer = _writer(path)
    row_bytes = 128 * Q8_0_BLOCK_N_BYTES
    n_rows = n_bytes // (N_BLOCKS * TENSORS_A_BLOCK) // row_bytes
    data = np.random.default_rng(0).integers(0, 255, (n_rows, row_bytes), dtype=np.uint8)
    for name in _names():
        writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_sparse_model(path: Path, n_bytes: int) -> None:
    """The same as a sparse file, whose tensors take no disk space."""
    writer = _writer(path)
    n_columns = 16384
    row_bytes = n_columns // 32 * Q8_0_BLOCK_N_BYTES
    n_rows = n_bytes // (N_BLOCKS * TENSORS_A_BLOCK) // row_bytes
    shape, kind = (n_rows, row_bytes), GGMLQuantizationType.Q8_0
    dtype = np.dtype(np.uint8)
    for name in _names():
        writer.add_tensor_info(name, shape, dtype, n_rows * row_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = -(-path.stat().st_size // 32) * 32
    os.truncate(path, header + n_rows * row_bytes * N_BLOCKS * TENSORS_A_BLOCK)


def _writer(path: Path) -> GGUFWriter:
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(N_BLOCKS)
    writer.add_name("Synthetic")
    writer.add_token_list([f"token-{n}" for n in range(N_TOKENS)])
    writer.add_token_merges([f"left{n} right{n}" for n in range(N_MERGES)])
    return writer


def _names() -> list[str]:
    parts = range(TENSORS_A_BLOCK)
    return [f"blk.{block}.part{n}.weight" for block in range(N_BLOCKS) for n in parts]


def measure(program: Program, *, freed_n_bytes: int = 0) -> Run:
    """Run a program with its inputs in the page cache; the time includes the sync of its outputs.

    With `freed_n_bytes` a file of that size is written and deleted right before: on a virtual
    machine the first use of a page of memory or disk can cost more than the copy.
    """
    for path in _outputs(program):
        path.unlink()
    os.sync()
    for path in program.inputs:
        _read(path)
    if freed_n_bytes:
        _write_and_delete(program.inputs[0].with_name("freed"), freed_n_bytes)
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(program.command, stdin=quiet, stdout=quiet, stderr=quiet)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident_peak(process.pid))
        time.sleep(0.005)
    if process.returncode not in (0, 7):  # 7: diff found a difference, as expected
        sys.exit(f"{' '.join(map(str, program.command))} failed with {process.returncode}")
    for path in _outputs(program):
        _sync(path)
    return Run(time.perf_counter() - start, peak / 1024)


def _outputs(program: Program) -> list[Path]:
    return [path for named in program.outputs for path in named.parent.glob(named.name)]


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def _write_and_delete(path: Path, n_bytes: int) -> None:
    zeros = bytes(1 << 24)
    with path.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        for _ in range(n_bytes >> 24):
            file.write(zeros)
        os.fsync(file.fileno())
    path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _resident_peak(pid: int) -> int:
    """Peak in kB. Not ru_maxrss, which includes the memory of this process at the fork."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(s.split()[1]) for s in status.splitlines() if s.startswith("VmHWM")), 0)


def show(rounds: Sequence[Mapping[str, Run]], reference: str) -> None:
    """A table of medians, with ratios to the reference within each round."""
    print("| | seconds (least to most) | ratio, median (least to most) | peak memory |")
    print("|---|---|---|---|")
    for name in rounds[0]:
        seconds = [runs[name].seconds for runs in rounds]
        ratios = [runs[name].seconds / runs[reference].seconds for runs in rounds]
        peak = max(runs[name].peak_mb for runs in rounds)
        print(f"| {name} | {spread(seconds)} | {spread(ratios)} | {peak:.0f} MB |", flush=True)


def spread(numbers: Sequence[float]) -> str:
    """The median, the least and the greatest."""
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"
