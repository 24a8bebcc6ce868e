"""Interrupted runs: what they print, what they keep, and how they resume."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError
from ggufsurgeon.layer_path.edits import drop, repeat
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NullProgress
from tests.calls import patch, perplexity, score
from tests.conftest import ROOT, Run
from tests.interrupts import started

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.scoring.results import PartialResult, PathResult
from ggufsurgeon.statistics.perplexity import Perplexity
from ggufsurgeon.verification.model_runs.model_run import shakespeare

pytestmark = pytest.mark.slow

STORIES = ROOT / "fixtures/stories260K.gguf"
SETTINGS = TextSettings(n_ctx=64, n_chunks=7, n_batch=128)
TEXT = shakespeare()[:20_000]


class StoppedError(Exception):
    """What a watcher raises to break a run off."""


def stop(_: PartialResult) -> None:
    raise StoppedError


def measure(model: Path, store: Path | None, **more: object) -> Perplexity:
    return perplexity(model, TEXT, store=store, **({"settings": SETTINGS} | more))  # type: ignore[arg-type]


def figures(found: Perplexity) -> tuple[object, ...]:
    return found.value, found.error, found.chunk_losses, found.position_losses


def test_a_run_goes_on_where_it_was_broken_off(stories: Path, tmp_path: Path) -> None:
    whole = measure(stories, None)
    assert whole.tokens_per_second * whole.seconds == pytest.approx(7 * 64)
    store = tmp_path / "scores.db"
    with pytest.raises(StoppedError):
        measure(stories, store, on_result=stop)
    parts: list[PathResult] = []
    again = measure(stories, store, on_result=lambda known: parts.append(known.results()[0]))
    assert figures(again) == figures(whole)
    assert again.tokens_per_second * again.seconds == pytest.approx(5 * 64)
    assert [part.perplexity.n_chunks for part in parts] == [4, 6, 7]  # the first two were known
    assert [part.perplexity.is_partial for part in parts] == [True, True, False]
    assert groups(store) == [(0, 2), (2, 2), (4, 2), (6, 1)]
    again = measure(stories, store, on_result=stop)
    assert figures(again) == figures(whole)


def groups(store: Path) -> list[tuple[int, int]]:
    """The first chunk and the number of chunks of each group that was added."""
    if not store.exists():
        return []
    query = "SELECT first_chunk, shape FROM scores WHERE name = 'losses' ORDER BY first_chunk"
    with closing(sqlite3.connect(store)) as database:
        try:
            return [(first, json.loads(shape)[0]) for first, shape in database.execute(query)]
        except sqlite3.OperationalError:  # it has no tables yet
            return []


class Watcher(NullProgress):
    """Remembers the running estimates."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def advance(self, _: int, note: str = "") -> None:
        self.notes += [note] * bool(note)


def test_running_estimates(stories: Path) -> None:
    alone, against = Watcher(), Watcher()
    found = measure(stories, None, progress=alone)
    window = repeat((1, 3))
    compared = score(stories, TEXT, window, settings=SETTINGS, progress=against)
    assert compared.comparison is not None
    assert (len(alone.notes), len(against.notes)) == (4, 4)
    assert alone.notes[-1] == f"perplexity {found.value:.4f}"
    kl = f"KL divergence {compared.comparison.kl.mean.value:.4f}"
    assert against.notes[-1] == f"perplexity {compared.perplexity.value:.4f}, {kl}"
    assert alone.notes[0] != alone.notes[-1]


def test_a_store_keeps_the_losses_of_each_chunk(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    found = measure(stories, store)
    with closing(sqlite3.connect(store)) as database:
        rows = database.execute("SELECT dtype, shape, data FROM scores").fetchall()
    losses = np.concatenate(
        [np.frombuffer(d, dtype).reshape(json.loads(s)) for dtype, s, d in rows]
    )
    assert losses.shape == (7, 31)
    assert tuple(losses.mean(axis=1).tolist()) == found.chunk_losses


@pytest.mark.parametrize("what", ["model", "text", "settings", "path"])
def test_other_measurements_are_kept_beside(stories: Path, tmp_path: Path, what: str) -> None:
    store = tmp_path / "scores.db"
    whole = measure(stories, store)
    other = tmp_path / "other.gguf"
    data = bytearray(stories.read_bytes())
    data[len(data) // 2 :] = data[len(data) // 2 :][::-1]  # the header stays as it is
    other.write_bytes(data)
    run = partial(
        score,
        other if what == "model" else stories,
        TEXT[:-9] if what == "text" else TEXT,
        repeat((1, 3)) if what == "path" else None,
        settings=TextSettings(64, 6, 128) if what == "settings" else SETTINGS,
    )
    if what == "model":  # its figures are no numbers
        with pytest.raises(MalformedFileError):
            run(store=store)
    else:
        alone, kept = run(), run(store=store)
        assert figures(kept.perplexity) == figures(alone.perplexity)
        assert kept.comparison == alone.comparison
        assert figures(run(store=store, on_result=stop).perplexity) == figures(alone.perplexity)
    assert figures(measure(stories, store, on_result=stop)) == figures(whole)


def test_a_damaged_store_is_refused(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores.db"
    run = partial(score, stories, TEXT, repeat((1, 3)), settings=SETTINGS, store=store)
    run()
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("DELETE FROM scores WHERE first_chunk = 2 AND name = 'paired_kl'")
    with pytest.raises(RefusedError, match="a damaged store"):
        run()


def test_a_run_that_is_killed_resumes_to_the_same_figures(stories: Path, tmp_path: Path) -> None:
    store, text = tmp_path / "scores.db", tmp_path / "text.txt"
    text.write_bytes(TEXT * 8)
    command = [sys.executable, "-m", "ggufsurgeon", "perplexity", str(stories), "-f", str(text)]
    command += ["-c", "64", "-b", "128", "--json", "--store"]
    with started([*command, store], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(groups(store)) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.kill()
    n_before = len(groups(store))
    runs = (
        subprocess.run([*command, str(place)], capture_output=True)
        for place in (store, tmp_path / "other.db")
    )
    resumed, whole = (json.loads(run.stdout) for run in runs)
    assert 2 <= n_before < len(groups(store))
    assert resumed["perplexity"] == whole["perplexity"]
    assert resumed["n_chunks"] == whole["n_chunks"]


STORES = {
    "an earlier version": (4, "a checkpoint of an earlier version"),
    "absent/store": (5, "cannot be opened"),
    "a" * 300: (5, "cannot be opened"),
    "/dev/full": (2, "not a regular file"),
    ".": (2, "not a regular file"),
}


@pytest.mark.parametrize("store", STORES)
def test_stores_that_are_none(surgeon: Run, stories: Path, tmp_path: Path, store: str) -> None:
    code, told = STORES[store]
    old = tmp_path / "an earlier version"
    old.write_bytes(b'{"kind": "ggufsurgeon perplexity", "n_ctx": 64}\n')
    before = old.read_bytes()
    (tmp_path / "text").write_bytes(TEXT)
    done = surgeon("perplexity", stories, "-f", "text", "-c", "64", "--store", store)
    assert (done.returncode, told in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {old.name, "text"}
    assert old.read_bytes() == before


def test_a_store_in_use(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores.db"

    def second(_: PartialResult) -> None:
        measure(stories, store)

    with pytest.raises(UsageError, match="in use"):
        measure(stories, store, on_result=second)


AGAINST = {"alone": (), "a path": ("--window", "1:3"), "a model": ("--base", STORIES)}


@pytest.mark.parametrize("against", AGAINST)
def test_ctrl_c_prints_what_is_known(stories: Path, tmp_path: Path, against: str) -> None:
    text = tmp_path / "long.txt"
    text.write_bytes(shakespeare() * 20)
    store = tmp_path / "scores.db"
    command = [sys.executable, "-m", "ggufsurgeon", "perplexity", str(stories), "-f", str(text)]
    command += [*map(str, AGAINST[against]), "--json", "--store", str(store)]
    pipe = subprocess.PIPE
    with started(command, stdout=pipe, stderr=pipe, text=True) as process:
        deadline = time.monotonic() + 120
        while len(groups(store)) < 2:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted by SIGINT" in errors
    found = json.loads(printed)
    assert found["is_partial"]
    assert 2 <= found["n_chunks"] < found["n_chunks_in_all"]
    assert ("divergence" in found) == (against != "alone")
    assert len(groups(store)) >= 2


def test_texts_of_the_command_line(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    arguments = ("perplexity", stories, "--ctx", "64", "--chunks", "3", "--json", "--text")
    (tmp_path / "play").mkdir()
    (tmp_path / "play/act.txt").write_bytes(TEXT)
    from_folder = surgeon(*arguments, "play", "--details")
    assert "act.txt" in from_folder.stderr
    from_pipe = surgeon(*arguments, "-", input=TEXT.decode())
    theirs, mine = (json.loads(run.stdout) for run in (from_folder, from_pipe))
    assert theirs["perplexity"] == mine["perplexity"]
    assert (len(theirs["chunk_losses"]), "chunk_losses" in mine) == (3, False)
    (tmp_path / "binary").write_bytes(b"\0" * 99)
    refused = surgeon(*arguments, "binary")
    assert (refused.returncode, "not a text" in refused.stderr) == (2, True)


class Others(NamedTuple):
    """References besides the model itself."""

    patched: Path
    logits: Path


ALONG_ANOTHER = gs.PathReference(LayerPath("0,2..4"))
SIDES: dict[str, Callable[[Others], dict[str, Any]]] = {
    "a path against the model": lambda _: {"path": repeat((1, 3))},
    "the model against a path": lambda _: {"reference": ALONG_ANOTHER},
    "a path against a path": lambda _: {"path": repeat((1, 3)), "reference": ALONG_ANOTHER},
    "two models": lambda others: {"reference": gs.ModelReference(others.patched)},
    "a path against another model": lambda others: {
        "path": drop((1, 2)),
        "reference": gs.ModelReference(others.patched),
    },
    "a logits file": lambda others: {"reference": gs.LogitsFileReference(others.logits)},
}


@pytest.fixture
def others(stories: Path, tmp_path: Path) -> Others:
    found = Others(tmp_path / "patched", tmp_path / "logits")
    patch(stories, found.patched, repeat((0, 2)))
    score(found.patched, TEXT, save_logits=found.logits, settings=SETTINGS)
    return found


@pytest.mark.parametrize("sides", SIDES)
def test_a_divergence_goes_on_where_it_was_broken_off(
    stories: Path, tmp_path: Path, others: Others, sides: str
) -> None:
    measure = partial(score, stories, TEXT, settings=SETTINGS, **SIDES[sides](others))
    whole = measure()
    store = tmp_path / "scores.db"
    parts: list[PathResult] = []

    def hear(known: PartialResult) -> None:
        parts.append(known.results()[0])

    def stop_later(known: PartialResult) -> None:
        hear(known)
        if known.n_chunks[0] >= 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        measure(store=store, on_result=stop_later)
    assert parts[-1].comparison is not None and parts[-1].perplexity.is_partial
    again = measure(store=store, on_result=hear)
    assert parts[-1].perplexity.n_chunks == 7
    assert again.comparison == whole.comparison is not None
    assert figures(again.perplexity) == figures(whole.perplexity)
    assert again.base is not None and whole.base is not None
    assert figures(again.base) == figures(whole.base)


def test_measurements_against_other_bases_are_kept_beside(
    stories: Path, tmp_path: Path, others: Others
) -> None:
    store = tmp_path / "scores.db"
    run = partial(score, stories, TEXT, settings=SETTINGS)
    first = run(reference=gs.ModelReference(stories), store=store)
    of_file = gs.LogitsFileReference(others.logits)
    for reference in (None, gs.ModelReference(others.patched), of_file):
        kept = run(reference=reference, store=store)
        assert kept.comparison == run(reference=reference).comparison
    assert (
        run(reference=gs.ModelReference(stories), store=store, on_result=stop).comparison
        == first.comparison
    )
