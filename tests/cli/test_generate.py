"""`generate` as a user sees it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.failing import assert_told
from tests.conftest import ROOT, Run
from tests.interrupts import started
from tests.models.expanding import expand

pytest.importorskip("llama_cpp", reason="needs the llama extra")

PROMPT = ("--prompt", "Once upon a time, Lily")


def test_it_says_what_the_written_file_says(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    surgeon("patch", stories, "patched.gguf", "--window", "1:3")
    routed = surgeon("generate", stories, *PROMPT, "--window", "1:3", "--tokens", "20")
    written = surgeon("generate", "patched.gguf", *PROMPT, "--tokens", "20")
    plain = surgeon("generate", stories, *PROMPT, "--tokens", "20")
    assert routed.returncode == written.returncode == 0
    assert routed.stdout == written.stdout != plain.stdout
    assert routed.stdout.endswith("\n") and len(routed.stdout) > 20
    assert "20 tokens along 0..2,1..4" in routed.stderr and "tokens/s" in routed.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["patched.gguf"]


def test_json(stories: Path, surgeon: Run) -> None:
    done = surgeon("generate", stories, *PROMPT, "--drop", "2:3", "--tokens", "5", "--json")
    told = json.loads(done.stdout)
    assert told["layer_path"] == "0..1,3..4"
    assert told["n_tokens"] == 5 and told["n_prompt"] > 5 and told["text"]
    assert told["tokens_per_second"] > 0


def test_a_prompt_beyond_the_training_is_warned_of(stories: Path, surgeon: Run) -> None:
    """The model was trained on 2048 tokens."""
    done = surgeon("generate", stories, "--prompt", "the dog " * 1400, "--tokens", "2")
    assert done.returncode == 0
    assert "was trained on 2048 tokens; text beyond that may be poor" in done.stderr


def test_a_seed_is_repeatable(stories: Path, surgeon: Run) -> None:
    def say(*options: str) -> str:
        hot = ("--temperature", "1.2", "--tokens", "12")
        return surgeon("generate", stories, *PROMPT, *hot, *options).stdout

    assert say("--seed", "1") == say("--seed", "1") != say("--seed", "2")


def test_signs_that_drive_a_terminal_are_shown(stories: Path, surgeon: Run) -> None:
    """At this temperature bytes of every kind come."""
    hot = ("--temperature", "50", "--top-k", "512", "--top-p", "1", "--tokens", "300")
    done = surgeon("generate", stories, *PROMPT, *hot)
    assert done.returncode == 0
    assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in done.stdout)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--window", "3:9"), 2, "reaches past the end of the model"),
        (("--window", "1:2", "--drop", "3:4"), 2, "they exclude each other"),
        (("--times", "3"), 2, "none is given"),
        (("--layers", ""), 2, "the layer path is empty"),
        (("--rpc", "127.0.0.1:1"), 2, "127.0.0.1:1"),
    ],
)
def test_bad_requests(
    stories: Path, surgeon: Run, options: tuple[str, ...], code: int, says: str
) -> None:
    assert_told(surgeon("generate", stories, *PROMPT, *options), code, says)


@pytest.mark.parametrize(
    ("stem", "options", "code", "says"),
    [
        ("bert-dense", (), 2, "it is an encoder"),
        ("llada-dense", (), 2, "it is a diffusion model"),
        ("talkie-dense", ("--window", "0:3", "--routed"), 4, "read what feeds block 0"),
    ],
)
def test_models_that_do_not_speak_so(
    surgeon: Run, tmp_path: Path, stem: str, options: tuple[str, ...], code: int, says: str
) -> None:
    path = expand(ROOT / f"fixtures/arch_headers/{stem}.gguf", tmp_path / "model.gguf", 0)
    assert_told(surgeon("generate", path, *PROMPT, *options), code, says)


def test_a_model_that_does_not_load(surgeon: Run, tmp_path: Path) -> None:
    """Its attention blocks are said to be recurrent."""
    path = expand(ROOT / "fixtures/arch_headers/jamba-dense.gguf", tmp_path / "model.gguf", 0)
    data = path.read_bytes()
    key = b"jamba.attention.head_count_kv"
    at = data.index(key) + len(key) + 4 + 12
    path.write_bytes(data[:at] + struct.pack("<8I", *[0] * 8) + data[at + 32 :])
    assert_told(surgeon("generate", path, *PROMPT), 3, "llama.cpp cannot load it")


def test_weights_that_are_no_numbers(stories: Path, surgeon: Run, tmp_path: Path) -> None:
    data = bytearray(stories.read_bytes())
    data[-4096:] = struct.pack("<f", float("nan")) * 1024
    (tmp_path / "nan.gguf").write_bytes(data)
    assert_told(surgeon("generate", "nan.gguf", *PROMPT), 3, "not finite numbers")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_error_amid_the_text_begins_a_line(number: int, stories: Path) -> None:
    """Ctrl-C, and the death of the process that generates."""
    command = [sys.executable, "-m", "ggufsurgeon", "generate", str(stories), *PROMPT]
    command += ["--tokens", "100000", "--threads", "1"]
    pipe = subprocess.PIPE
    with started(command, start_new_session=True, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.read(40)
        threads = Path(f"/proc/{process.pid}/task").glob("*/children")
        (worker,) = (word for thread in threads for word in thread.read_text().split())
        os.kill(process.pid if number == signal.SIGINT else int(worker), number)
        text, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 6), errors
    assert text.endswith(b"\n") and errors.count(b"error: ") == 1


def test_ctrl_c_ends_it_and_its_child(stories: Path) -> None:
    command = [sys.executable, "-m", "ggufsurgeon", "generate", str(stories), *PROMPT]
    command += ["--tokens", "100000"]
    pipe = subprocess.PIPE
    with started(command, start_new_session=True, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.read(40)  # it speaks
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and b"interrupted by SIGINT" in errors
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_devices_of_the_positions_are_told(stories: Path, surgeon: Run) -> None:
    """Of 5 blocks and the output, 3 layers on each of two devices."""
    from tests.engine.serving import rpc_server

    with rpc_server() as first, rpc_server() as second:
        devices = ("--rpc", f"{first},{second}", "--tensor-split", "1,1", "-ngl", "-1")
        path = ("--layers", "0..2,1..4", "--tokens", "3")
        told = surgeon("generate", stories, *PROMPT, *path, *devices, "--json")
        shown = surgeon("generate", stories, *PROMPT, *path, *devices)
    found = json.loads(told.stdout)["devices"]
    assert [device["weights_of"] for device in found] == [[0, 1, 2, 3, 4], [5, 6]]
    assert [device["cache_of"] for device in found] == [[0, 1, 2, 3, 4], [5, 6]]
    assert f"{found[1]['device']}: weights of positions 5..6, cache of 5..6" in shown.stderr
    alone = json.loads(surgeon("generate", stories, *PROMPT, *path, "--json").stdout)["devices"]
    assert alone == [{"device": "CPU", "weights_of": list(range(7)), "cache_of": list(range(7))}]
