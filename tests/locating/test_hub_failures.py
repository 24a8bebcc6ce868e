"""A hub, or a network, that fails: one clear message each, and nothing is written."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("huggingface_hub")

from tests.cli.failing import assert_told
from tests.interrupts import started
from tests.locating.conftest import Named
from tests.locating.hub_server import REPO, Faults, hub_with
from tests.locating.large_models import large_model
from tests.locating.test_hub import NAME, WINDOW, downloads

COMMANDS = (("inspect", NAME), ("patch", NAME, "new.gguf", *WINDOW))


class Failure(NamedTuple):
    faults: Faults
    says: tuple[str, ...]
    name: str = NAME


FAILURES = {
    "no repository": Failure(
        Faults(), ("has no repository nobody/nothing",), "hf://nobody/nothing/model.gguf"
    ),
    "no file": Failure(
        Faults(),
        ("has no file 'modell.gguf'", "Its GGUF files: model.gguf"),
        f"hf://{REPO}/modell.gguf",
    ),
    "no revision": Failure(Faults(), ("has no revision 'v2'",), f"hf://{REPO}@v2/model.gguf"),
    "no file named": Failure(
        Faults(), ("name a file of it", "Its GGUF files: model.gguf"), f"hf://{REPO}"
    ),
    "gated": Failure(Faults(403, "GatedRepo"), ("is restricted", "HF_TOKEN")),
    "a token is needed": Failure(Faults(token="hf_secret"), ("is restricted", "hf auth login")),
    "unauthorized": Failure(Faults(401), ("401", "HF_TOKEN")),
    "forbidden": Failure(Faults(403), ("refuses access (403)",)),
    "down": Failure(Faults(503), ("the Hub answered 503",)),
    "too many": Failure(Faults(429), ("the Hub answered 429",)),
    "416": Failure(Faults(status_of_ranges=416), ("(416)",)),
    "no range": Failure(Faults(status_of_ranges=204), ("answered 204",)),
    "no hub": Failure(Faults(no_commit=True), ("commit",)),
    "mute": Failure(Faults(is_mute=True), ("sent nothing for 2 seconds",)),
    "stalls": Failure(Faults(stalls_after=1000), ("sent nothing for 2 seconds",)),
    "cut": Failure(Faults(cut_after=1000), ("the connection broke",)),
}


@pytest.mark.parametrize("command", COMMANDS, ids=["inspect", "patch"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_one_message(
    named: Named, home: Path, tmp_path: Path, failure: Failure, command: tuple[str, ...]
) -> None:
    model = large_model(tmp_path / "model.gguf")
    what, _, *rest = command
    with hub_with({"model.gguf": model}, failure.faults) as hub:
        done = named(what, failure.name, *rest, HF_ENDPOINT=hub.url)
    for says in failure.says:
        assert_told(done, 2, says)
    assert failure.name in done.stderr
    assert not downloads(home) and not (tmp_path / "new.gguf").exists()


def test_offline(named: Named) -> None:
    done = named("inspect", NAME, HF_HUB_OFFLINE="1")
    assert_told(done, 2, "is not in the cache of huggingface_hub, and HF_HUB_OFFLINE is set")


def test_nobody_listens(named: Named) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert_told(named("inspect", NAME, HF_ENDPOINT=url), 2, f"{url} cannot be reached")


@pytest.mark.parametrize("endpoint", ["garbage", "ftp://hub", "http://", "http://hub:port"])
def test_an_endpoint_that_is_no_address(named: Named, tmp_path: Path, endpoint: str) -> None:
    for what, *rest in COMMANDS:
        done = named(what, *rest, HF_ENDPOINT=endpoint)
        assert_told(done, 2, f"HF_ENDPOINT is '{endpoint.rstrip('/')}', which is not the address")
    assert not (tmp_path / "new.gguf").exists()


@pytest.mark.parametrize(
    "name",
    [
        "hf://",
        "hf://model.gguf",
        "hf://datasets/maker/model/model.gguf",
        f"hf://{REPO}/../other/model.gguf",
        f"hf://{REPO}@../../x/model.gguf",
        f"hf://{REPO}@refs%2F..%2F../model.gguf",
        "hf://-maker/model/model.gguf",
        "hf://mak..er/model/model.gguf",
        f"hf://{REPO}:Q4_K_M",
    ],
)
def test_names_that_are_none(named: Named, name: str) -> None:
    assert_told(named("inspect", name, HF_ENDPOINT="http://127.0.0.1:9"), 2, "expected hf://")


def test_an_interrupted_download_leaves_nothing(home: Path, tmp_path: Path) -> None:
    model = large_model(tmp_path / "model.gguf")
    with hub_with({"model.gguf": model}, Faults(stalls_after=20 << 20)) as hub:
        env = {**os.environ, "HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_ETAG_TIMEOUT": "9"}
        words = [sys.executable, "-m", "ggufsurgeon", "patch", NAME, "new.gguf", *WINDOW]
        with started(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
            while sum(hub.sent) < 20 << 20 and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.startswith("error: interrupted by SIGINT") and "Traceback" not in told
    kept = f"{NAME}: huggingface_hub kept nothing of the file that it was downloading"
    assert f"The destination is unchanged. {kept}" in told
    assert not (tmp_path / "new.gguf").exists()
    snapshots = (home / ".cache/huggingface/hub").glob("*/snapshots/*/*")
    assert not list(snapshots)
    assert all(path.stat().st_size < 1000 for path in downloads(home))


def test_what_is_refused_is_not_downloaded(named: Named, home: Path, tmp_path: Path) -> None:
    model = large_model(tmp_path / "model.gguf")
    (tmp_path / "there.gguf").write_bytes(b"kept")
    with hub_with({"model.gguf": model}) as hub:
        outside = named("patch", NAME, "new.gguf", "--window", "1:9", HF_ENDPOINT=hub.url)
        exists = named("patch", NAME, "there.gguf", *WINDOW, HF_ENDPOINT=hub.url)
        in_place = named("patch", NAME, "--in-place", *WINDOW, HF_ENDPOINT=hub.url)
    assert_told(outside, 2, "1:9")
    assert_told(exists, 4, "exists")
    assert_told(in_place, 4, "on the Hub")
    assert (tmp_path / "there.gguf").read_bytes() == b"kept"
    assert not downloads(home)


OTHER_CONTENTS = (
    ("a web page", b"<!doctype html><html><title>Sign in</title></html>" + b" " * 5000),
    ("expected", bytes(range(256)) * 4000),
    ("at byte", b"GGUF\x03\0\0\0" + b"\xff" * 500_000),
)


@pytest.mark.parametrize(("says", "data"), OTHER_CONTENTS)
def test_other_files_are_told_as_on_disk(
    named: Named, tmp_path: Path, says: str, data: bytes
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(data)
    with hub_with({"model.gguf": file}) as hub:
        done = named("inspect", NAME, HF_ENDPOINT=hub.url)
    assert_told(done, 3, says)
    assert (
        done.stderr.splitlines()[0].replace(NAME, str(file))
        == (named("inspect", file).stderr.splitlines()[0])
    )


def test_a_length_in_a_file_does_not_fetch_it(named: Named, tmp_path: Path) -> None:
    model = large_model(tmp_path / "model.gguf")
    raw = bytearray(model.read_bytes()[:4096])
    at = raw.index(b"Tiny") - 8
    raw[at : at + 8] = (90_000_000).to_bytes(8, "little")
    with model.open("r+b") as file:
        file.write(raw)
    with hub_with({"model.gguf": model}) as hub:
        done = named("inspect", NAME, HF_ENDPOINT=hub.url)
    assert_told(done, 2, "its header has more than 67,108,864 bytes")
    assert sum(hub.sent) < 2 << 20
