"""Chat templates, rendered by a separate process that can be killed.

See `template_process` for its limits. It is started for the first template and renders all later
ones; after it was killed, the next template starts a new one.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ggufsurgeon.engine.high_level.template_process import READY

SECONDS = 5
"""How long a template may take. Those of known models take milliseconds."""


class TemplateFaultError(Exception):
    """A chat template that cannot be compiled or rendered; the message is about the template."""


class TemplateComplaintError(TemplateFaultError):
    """An error that a template raises about a conversation (`raise_exception`)."""


class TemplateProcess:
    """The process, and one request at a time to it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def check(self, template: str) -> None:
        """Raise TemplateFaultError for a template that cannot be compiled."""
        self._ask({"template": template})

    def render(self, template: str, values: Mapping[str, Any], today: str | None = None) -> str:
        """The prompt of a template with JSON values; `today` (ISO) is the date for `strftime_now`.

        Raises TemplateFaultError for a template that fails or exceeds SECONDS or the memory limit,
        and TypeError for values that JSON cannot represent.
        """
        return self._ask({"template": template, "values": dict(values), "today": today})

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any]) -> str:
        line = json.dumps(request)
        with self._lock:
            found = json.loads(self._exchange(line))
        if "prompt" in found:
            return str(found["prompt"])
        kind = TemplateComplaintError if found.get("complains") else TemplateFaultError
        raise kind(found["problem"])

    def _exchange(self, line: str) -> str:
        """Send a line and read the answer. The process is ended if there is none in time."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        is_late = threading.Event()
        timer = threading.Timer(SECONDS, _end_late, (process, is_late))
        timer.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(f"{line}\n")
                process.stdin.flush()
            answer = process.stdout.readline()
        except BaseException:  # so that a late answer is not taken for that of the next request
            self._end()
            raise
        finally:
            timer.cancel()
        if answer.endswith("\n"):
            return answer
        self._end()
        took = f"it takes longer than {SECONDS} seconds"
        raise TemplateFaultError(took if is_late.is_set() else "its process crashed")

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
                start_new_session=True,  # Ctrl-C must reach only the caller
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline().strip() != READY:
                self._end()
                raise TemplateFaultError("the process that renders it does not start")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    assert stream is not None
                    stream.close()
            self._process = None


_MODULE = "ggufsurgeon.engine.high_level.template_process"


def _end_late(process: subprocess.Popen[str], is_late: threading.Event) -> None:
    is_late.set()
    process.kill()


TEMPLATES = TemplateProcess()
"""The process that all code of this program uses."""
atexit.register(TEMPLATES.close)
