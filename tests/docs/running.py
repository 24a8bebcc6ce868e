"""Run the blocks of a page in a folder that has what the pages speak of."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.docs.circumstances import CIRCUMSTANCES
from tests.docs.fences import Block
from tests.interrupts import heed_interrupts

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "model.gguf"
WIKITEXT = "wiki.test.raw"
HOME = "/home/you/models"
"""What stands in the pages for the folder that commands run in."""
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
    (folder / "text.txt").write_bytes(text[:4000])  # two contexts of 512 tokens
    (folder / "tasks.jsonl").symlink_to(ROOT / "fixtures/tasks/choices.jsonl")
    program = folder / "bin/ggufsurgeon"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ggufsurgeon "$@"\n')
    program.chmod(0o755)


def run(arguments: list[str], folder: Path, where: str) -> str:
    """The standard output of a command that must succeed."""
    return _run(arguments, folder, where, 0).stdout


def run_command(command: str, folder: Path, where: str) -> str:
    """The standard output of a command line of a console block."""
    return run(["bash", "-c", _checked(command, where)], folder, where)


class Outputs(NamedTuple):
    """What a command prints, as if it ran in `HOME`."""

    result: str
    errors: str


def run_failing(command: str, folder: Path, where: str, block: Block) -> Outputs:
    """Both outputs of a command line, in the circumstance and with the exit code of its block.

    Raises NotToBeHadError when this machine cannot be brought into that circumstance.
    """
    circumstance = CIRCUMSTANCES[block.given](folder)
    line = circumstance.prefix + _checked(command, where)
    code = block.exit_code or 0
    done = _run(["bash", "-c", line], folder, where, code, circumstance.modules)
    place = str(folder.resolve())
    return Outputs(done.stdout.replace(place, HOME), done.stderr.replace(place, HOME))


def _checked(command: str, where: str) -> str:
    assert command.startswith("ggufsurgeon "), f"{where}: {command} is not of this program"
    return command


def _run(
    arguments: list[str], folder: Path, where: str, exit_code: int, modules: Path | None = None
) -> subprocess.CompletedProcess[str]:
    places = [modules, ROOT, os.environ.get("PYTHONPATH")]
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(str(place) for place in places if place),
        "COLUMNS": "100",
        "HF_HOME": str(folder / "huggingface"),
    }
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        preexec_fn=heed_interrupts,
    )
    assert done.returncode == exit_code, f"{where}: {arguments[-1]}\n{done.stdout}\n{done.stderr}"
    return done
