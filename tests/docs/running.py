"""Run the blocks of a page in a folder that has what the pages speak of."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.fences import Block

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "model.gguf"
WIKITEXT = "wiki.test.raw"
SHAKESPEARE = ROOT / "ggufsurgeon/verification/texts/shakespeare.txt"


def uses_smollm2(block: Block) -> bool:
    """Whether a block reads SmolLM2, under its own name or as the model of the Python examples."""
    return SMOLLM2 in block.body or MODEL in block.body


def furnish(folder: Path, models: Mapping[str, Path]) -> None:
    """Put the program, fixtures, a text and tasks into a folder, and links to `models` by name."""
    for name, target in {"fixtures": ROOT / "fixtures", **models}.items():
        (folder / name).symlink_to(target)
    text = SHAKESPEARE.read_bytes()
    (folder / "shakespeare.txt").write_bytes(text)
    (folder / "text.txt").write_bytes(text[:8000])
    (folder / "tasks.jsonl").symlink_to(ROOT / "fixtures/tasks/choices.jsonl")
    program = folder / "bin/ggufsurgeon"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ggufsurgeon "$@"\n')
    program.chmod(0o755)


def run(arguments: list[str], folder: Path, where: str) -> str:
    """The standard output of a command that must succeed."""
    modules = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": modules,
        "COLUMNS": "100",
    }
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{where}: {arguments[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_command(command: str, folder: Path, where: str) -> str:
    """The standard output of a command line of a console block."""
    assert command.startswith("ggufsurgeon "), f"{where}: {command} is not of this program"
    return run(["bash", "-c", command], folder, where)
