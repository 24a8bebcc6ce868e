"""Processes that tests start heed Ctrl-C, and end with the test."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.interrupts import started

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_ctrl_c_reaches_what_a_job_in_the_background_starts() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with started(SLEEPER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_test_that_fails_leaves_no_process_and_no_open_file() -> None:
    with pytest.raises(ZeroDivisionError), started(SLEEPER, stdout=subprocess.PIPE) as process:
        raise ZeroDivisionError
    assert process.poll() == -signal.SIGKILL
    assert process.stdout is not None and process.stdout.closed
