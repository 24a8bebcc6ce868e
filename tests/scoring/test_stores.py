"""Runs that are broken off: what they print, what they keep, and how they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from ggufsurgeon import api
from ggufsurgeon.errors import RefusedError, UsageError, WriteFailedError
from ggufsurgeon.layer_path.edits import drop, repeat
from ggufsurgeon.progress import NullProgress
from tests.conftest import ROOT, Run

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.scoring.measured import Known, Measured
from ggufsurgeon.scoring.perplexity import Perplexity, TextSettings
from ggufsurgeon.verification.model_run import shakespeare

STORIES = ROOT / "fixtures/stories260K.gguf"
SETTINGS = TextSettings(n_ctx=64, n_chunks=7, n_batch=128)
TEXT = shakespeare()[:20_000]


class StoppedError(Exception):
    """What a watcher raises to break a run off."""


def stop(_: Known) -> None:
    raise StoppedError


def measure(model: Path, store: Path | None, **more: object) -> Perplexity:
    return api.perplexity(model, TEXT, store=store, **({"settings": SETTINGS} | more))  # type: ignore[arg-type]


def figures(found: Perplexity) -> tuple[object, ...]:
    return found.perplexity, found.perplexity_error, found.chunk_losses, found.position_losses


@pytest.mark.parametrize("torn", [b"", b'[{"sum": 12.5, "squ', b"[\x00"])
def test_a_run_goes_on_where_it_was_broken_off(stories: Path, tmp_path: Path, torn: bytes) -> None:
    whole = measure(stories, None)
    assert whole.tokens_per_second * whole.seconds == pytest.approx(7 * 64)
    store = tmp_path / "losses.jsonl"
    with pytest.raises(StoppedError):
        measure(stories, store, hear=stop)
    with store.open("ab") as file:
        file.write(torn)
    parts: list[Measured] = []
    again = measure(stories, store, hear=lambda known: parts.append(known.measured()))
    assert figures(again) == figures(whole)
    assert again.tokens_per_second * again.seconds == pytest.approx(5 * 64)
    assert [part.perplexity.n_chunks for part in parts] == [4, 6, 7]  # the first two were known
    assert [part.perplexity.is_partial for part in parts] == [True, True, False]
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    assert [len(line["chunks"]) for line in lines[1:]] == [2, 2, 2, 1]
    again = measure(stories, store, hear=stop)
    assert figures(again) == figures(whole)


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
    compared = api.divergence(stories, TEXT, window, settings=SETTINGS, progress=against)
    assert compared.divergence is not None
    assert (len(alone.notes), len(against.notes)) == (4, 4)
    assert alone.notes[-1] == f"perplexity {found.perplexity:.4f}"
    kl = f"KL divergence {compared.divergence.kl.mean.value:.4f}"
    assert against.notes[-1] == f"perplexity {compared.perplexity.perplexity:.4f}, {kl}"
    assert alone.notes[0] != alone.notes[-1]


def test_a_store_keeps_sums_of_each_chunk(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "losses.jsonl"
    found = measure(stories, store)
    lines = [json.loads(line) for line in store.read_text().splitlines()]
    chunks = [chunk for line in lines[1:] for chunk in line["chunks"]]
    assert [chunk["count"] for chunk in chunks] == [31] * 7
    means = [chunk["sum"] / chunk["count"] for chunk in chunks]
    assert means == pytest.approx(found.chunk_losses, rel=1e-12)
    assert chunks[0]["squares"] == pytest.approx(sum(x * x for x in chunks[0]["losses"]))


@pytest.mark.parametrize("what", ["model", "text", "settings"])
def test_a_store_of_something_else_is_refused(stories: Path, tmp_path: Path, what: str) -> None:
    store = tmp_path / "losses.jsonl"
    measure(stories, store)
    before = store.read_bytes()
    other = tmp_path / "other.gguf"
    data = bytearray(stories.read_bytes())
    data[len(data) // 2 :] = data[len(data) // 2 :][::-1]  # the header stays as it is
    other.write_bytes(data)
    with pytest.raises(RefusedError, match=f"another measurement: {what}"):
        api.perplexity(
            other if what == "model" else stories,
            TEXT[:-9] if what == "text" else TEXT,
            settings=TextSettings(64, 6, 128) if what == "settings" else SETTINGS,
            store=store,
        )
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"{}\n", b"hello\n", b"hello", b"[1]\n", b'{"kind": 3}\n{"losses": 4}\n']
)
def test_what_is_no_store_is_left_alone(stories: Path, tmp_path: Path, content: bytes) -> None:
    store = tmp_path / "notes.txt"
    store.write_bytes(content)
    with pytest.raises(RefusedError, match="not a checkpoint"):
        measure(stories, store)
    assert store.read_bytes() == content


Lines: TypeAlias = list[bytes]
DAMAGES: dict[str, Callable[[Lines], Lines]] = {
    "another line": lambda lines: [lines[0], b'{"sum": 1}\n'],
    "a line is missing": lambda lines: [*lines[:2], *lines[3:]],
    "a line is there twice": lambda lines: [*lines[:3], *lines[2:]],
    "a digit is another": lambda lines: [*lines[:2], lines[2].replace(b".5", b".6", 1)],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused(stories: Path, tmp_path: Path, damage: str) -> None:
    store = tmp_path / "losses.jsonl"
    measure(stories, store)
    lines = store.read_bytes().splitlines(keepends=True)
    damaged = DAMAGES[damage](lines)
    assert damaged != lines[: len(damaged)]
    store.write_bytes(b"".join(damaged))
    with pytest.raises(RefusedError, match=r"is missing, or is not what was written"):
        measure(stories, store)
    assert store.read_bytes() == b"".join(damaged)


def test_a_store_that_cannot_be_opened(stories: Path, tmp_path: Path) -> None:
    for place in ("absent/store", "a" * 300):
        with pytest.raises(WriteFailedError, match="cannot be opened"):
            measure(stories, tmp_path / place)
    os.mkfifo(tmp_path / "pipe")
    for place in ("pipe", ".", "/dev/null", "/dev/full"):
        with pytest.raises(UsageError, match="not a regular file"):
            measure(stories, tmp_path / place)


def test_a_store_in_use(stories: Path, tmp_path: Path) -> None:
    store = tmp_path / "losses.jsonl"

    def second(_: Known) -> None:
        measure(stories, store)

    with pytest.raises(UsageError, match="in use"):
        measure(stories, store, hear=second)


AGAINST = {"alone": (), "a path": ("--window", "1:3"), "a model": ("--base", STORIES)}


@pytest.mark.parametrize("against", AGAINST)
def test_ctrl_c_prints_what_is_known(stories: Path, tmp_path: Path, against: str) -> None:
    text = tmp_path / "long.txt"
    text.write_bytes(shakespeare() * 20)
    store = tmp_path / "losses.jsonl"
    command = [sys.executable, "-m", "ggufsurgeon", "perplexity", stories, "--text", text]
    with subprocess.Popen(
        [str(part) for part in (*command, *AGAINST[against], "--json", "--store", store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not store.exists() or store.read_bytes().count(b"\n") < 3:
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
    assert store.read_bytes().endswith(b"\n")


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


SIDES: dict[str, dict[str, object]] = {
    "a path against the model": {"path": repeat((1, 3))},
    "the model against a path": {"base_path": drop((1, 2))},
    "a path against a path": {
        "path": repeat((1, 3)),
        "base_path": drop((1, 2)),
    },
    "two models": {"base": "patched"},
    "a path against another model": {"base": "patched", "path": drop((1, 2))},
    "a base file": {"base_logits": "logits"},
}


@pytest.fixture
def others(stories: Path, tmp_path: Path) -> dict[object, Path]:
    """What a base can be, besides the model itself."""
    found: dict[object, Path] = {name: tmp_path / name for name in ("patched", "logits")}
    api.patch(stories, found["patched"], repeat((0, 2)))
    api.divergence(found["patched"], TEXT, save_logits=found["logits"], settings=SETTINGS)
    return found


@pytest.mark.parametrize("sides", SIDES)
def test_a_divergence_goes_on_where_it_was_broken_off(
    stories: Path, tmp_path: Path, others: dict[object, Path], sides: str
) -> None:
    request = {name: others.get(value, value) for name, value in SIDES[sides].items()}
    measure = partial(api.divergence, stories, TEXT, settings=SETTINGS, **request)  # type: ignore[arg-type]
    whole = measure()
    store = tmp_path / "store.jsonl"
    parts: list[Measured] = []

    def hear(known: Known) -> None:
        parts.append(known.measured())

    def stop_later(known: Known) -> None:
        hear(known)
        if known.n_chunks >= 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        measure(store=store, hear=stop_later)
    assert parts[-1].divergence is not None and parts[-1].perplexity.is_partial
    again = measure(store=store, hear=hear)
    assert parts[-1].perplexity.n_chunks == 7
    assert again.divergence == whole.divergence is not None
    assert figures(again.perplexity) == figures(whole.perplexity)
    assert again.base is not None and whole.base is not None
    assert figures(again.base) == figures(whole.base)


def test_a_store_is_of_one_base(stories: Path, tmp_path: Path, others: dict[object, Path]) -> None:
    store = tmp_path / "store.jsonl"
    api.divergence(stories, TEXT, base=stories, settings=SETTINGS, store=store)
    before = store.read_bytes()
    for base, logits in ((None, None), (others["patched"], None), (None, others["logits"])):
        with pytest.raises(RefusedError, match=r"another measurement: .*base"):
            api.divergence(
                stories, TEXT, base=base, base_logits=logits, settings=SETTINGS, store=store
            )
    assert store.read_bytes() == before
