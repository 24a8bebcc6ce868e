"""Law 5, killed: absent, as it was or complete, whenever a signal comes."""

from __future__ import annotations

import filecmp
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIG_DFL, SIG_IGN, SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals, signal
from typing import NamedTuple

import pytest

from ggufsurgeon.layer_path.path import LayerPath
from tests.calls import plan
from tests.conftest import ROOT
from tests.interrupts import started
from tests.models.builders import llama_model
from tests.writing.dying import OVER
from tests.writing.plans import listing, result_of, sparse_model, temporaries

pytestmark = pytest.mark.slow

OLD = b"old"
N_BYTES = 40 << 20
"""Of a block: writing takes about as long as starting the program."""


class Model(NamedTuple):
    """A model that takes a while to write, and what comes out undisturbed."""

    source: Path
    result: Path
    seconds: float
    """From the first sight of the temporary file to the end."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("large")
    source = sparse_model(folder / "source.gguf", 4, N_BYTES)
    with patching(source, folder / "result.gguf") as process:
        start = time.monotonic()
        assert process.wait() == 0
    return Model(source, folder / "result.gguf", time.monotonic() - start)


@contextmanager
def patching(
    source: Path, destination: Path, *options: str, ignored: Signals | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program writing, with the signals of a program that a shell starts."""

    def set_signals() -> None:
        for number in (SIGINT, SIGTERM, SIGHUP):
            signal(number, SIG_IGN if number == ignored else SIG_DFL)

    program = [sys.executable, "-m", "ggufsurgeon", "patch", str(source), str(destination)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [*program, "--window", "1:2", *options]
    with started(command, preexec_fn=set_signals, **quiet) as process:
        while not is_writing(process, destination.parent):
            assert process.poll() is None
            time.sleep(0.001)
        yield process


def is_writing(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether it has a temporary file open, whose name is "#NUMBER (deleted)" if it has none."""
    with suppress(OSError):  # gone between two looks
        opened = [link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        return any(path.parent == folder and path.name[0] in "#." for path in opened)
    return False


@pytest.mark.parametrize("part", range(2), ids=["early", "late"])
@pytest.mark.parametrize("options", [[], ["--replace"]], ids=["new", "replace"])
@pytest.mark.parametrize("number", [SIGKILL, SIGTERM, SIGINT])
def test_killed_at_random(
    model: Model, tmp_path: Path, number: Signals, options: list[str], part: int
) -> None:
    destination = tmp_path / "new.gguf"
    if options:
        destination.write_bytes(OLD)
    delay = model.seconds * (part + random.random()) / 2
    with patching(model.source, destination, *options) as process:
        time.sleep(delay)
        process.send_signal(number)
        code = process.wait()
    is_old = destination.read_bytes() == OLD if options else not destination.exists()
    is_complete = not is_old and filecmp.cmp(destination, model.result, shallow=False)
    assert is_complete or is_old, delay
    # Once all is done Python has let go of its handlers: a late signal kills it outright.
    died = number == SIGKILL or is_complete
    assert code in (128 + number, *[0] * is_complete, *[-number] * died), delay
    if number != SIGKILL:
        assert temporaries(tmp_path) == [], delay
    destination.unlink(missing_ok=True)  # disks are small, and this is large
    for path in temporaries(tmp_path):
        path.unlink()


def test_the_source_of_all_these_is_unchanged(model: Model, tmp_path: Path) -> None:
    again = sparse_model(tmp_path / "again.gguf", 4, N_BYTES)
    assert filecmp.cmp(model.source, again, shallow=False)


def test_hung_up(model: Model, tmp_path: Path) -> None:
    with patching(model.source, tmp_path / "new.gguf") as process:
        process.send_signal(SIGHUP)
        assert process.wait() == 128 + SIGHUP
    assert listing(tmp_path) == {}


def test_nohup_stays_nohup(model: Model, tmp_path: Path) -> None:
    with patching(model.source, tmp_path / "new.gguf", ignored=SIGHUP) as process:
        process.send_signal(SIGHUP)
        assert process.wait() == 0
    assert filecmp.cmp(tmp_path / "new.gguf", model.result, shallow=False)


def small_model(folder: Path) -> tuple[Path, bytes]:
    source = folder / "source.gguf"
    source.write_bytes(llama_model(3))
    return source, result_of(plan(source, LayerPath.of([0, 0, 1, 2])).write_plan)


def run_dying(
    first: int, second: int, source: Path, runs: Path, kind: str, *old: str
) -> Sequence[int]:
    """Exit codes of the runs hit at moment 1, 2, ...; see `dying`."""
    runs.mkdir()
    program = [sys.executable, "-m", "tests.writing.dying", str(int(first)), str(int(second))]
    command = [*program, str(source), str(runs), kind, *old]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    codes: list[int] = json.loads((runs / "codes.json").read_text())
    return codes


@pytest.mark.parametrize(
    ("first", "second", "kind", "old"),
    [
        pytest.param(0, SIGKILL, "nameless", [], id="killed-new"),
        pytest.param(0, SIGKILL, "nameless", ["old"], id="killed-replace"),
        pytest.param(0, SIGKILL, "named", ["old"], id="killed-replace-named"),
        pytest.param(0, SIGTERM, "named", [], id="term-new-named"),
        pytest.param(0, SIGINT, "nameless", ["old"], id="int-replace"),
        pytest.param(SIGTERM, SIGINT, "named", [], id="twice-named"),
    ],
)
def test_hit_at_every_moment(
    tmp_path: Path, first: int, second: int, kind: str, old: list[str]
) -> None:
    source, complete = small_model(tmp_path)
    runs = tmp_path / "runs"
    *codes, last = run_dying(first, second, source, runs, kind, *old)
    assert last == OVER
    ends = (
        {-SIGKILL} if second == SIGKILL else {128 + number for number in (first, second) if number}
    )
    assert set(codes) <= ends
    as_it_was = {"new.gguf": OLD} if old else {}
    for moment in range(1, len(codes) + 1):
        found = listing(runs / str(moment))
        if second == SIGKILL:
            found = {name: told for name, told in found.items() if name[0] != "."}
        assert found in (as_it_was, {"new.gguf": complete}), moment
    assert len(codes) > (5 if first or second == SIGKILL else 50), "was it watched at all?"
    assert source.read_bytes() == llama_model(3)
