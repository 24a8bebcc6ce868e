"""Runs the matrix in child processes, two at a time, through the aborts of llama.cpp."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

Line = dict[str, Any]


MATRIX = "tests.verification.matrix"


def run_matrix(
    models: Sequence[str], *options: str, n_processes: int = 2, program: str = MATRIX
) -> list[Line]:
    """A line for every path; a model that ended the process has one `unloadable` line for it."""
    shares = [list(models[n::n_processes]) for n in range(n_processes)]
    with ThreadPoolExecutor(n_processes) as pool:
        found = pool.map(lambda models: _run(models, options, program), shares)
        return [line for lines in found for line in lines]


def print_examined(examine: Callable[[str, Path], Line]) -> None:
    """Print a line for every model that the command line names, as a program of `run_matrix`.

    `examine` takes the name of a model, and a folder for files.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    for name in parser.parse_args().models:
        print(json.dumps({"trying": name}), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(examine(name, Path(folder)) | {"status": "examined"}), flush=True)


def _run(models: list[str], options: Sequence[str], program: str) -> list[Line]:
    found: list[Line] = []
    while models:
        command = [sys.executable, "-m", program, *options, *models]
        environment = os.environ | {"GGML_NO_BACKTRACE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += [line for line in lines if "status" in line]
        if done.returncode == 0:
            break
        tried = [line["trying"] for line in lines if "trying" in line]
        last = tried[-1] if tried else models[0]
        problem = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        found.append({"model": last, "path": _last_path(lines), "status": "unloadable"})
        found[-1] |= {"architecture": last, "detail": problem[0]}
        models = models[models.index(last) + 1 :]
    return found


def _last_path(lines: list[Line]) -> str:
    return next((line["path"] for line in reversed(lines) if "path" in line), "-")
