"""The program in a fork of a process that has imported its modules and has run nothing.

    python -m tests.forks DESCRIPTOR

Most of the time of a short command is spent on starting Python and importing. A fork is a process
like any other: it has its own folder, environment and descriptors, and ends as Python does. Tests
that depend on how the program is started (a variable, a missing package, a terminal) start it from
the command line instead.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import IO, NamedTuple, NoReturn

import ggufsurgeon

OTHER_LIBRARIES = ("clusters.dask", "leaderboard", "reporting", "serving")
"""Parts of the package that import large libraries."""
PROGRAMS = ("__main__", "worker_process")
ALSO_IMPORTED = ("rich.table", "rich.progress", "pydantic", "typer._adapters", "gguf")
"""What commands import when they run."""


class Request(NamedTuple):
    """A command line, and where it runs."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Forks:
    """A process that forks for each command line. It ends with the `with` block."""

    def __init__(self) -> None:
        self._environment = _of_python(os.environ)
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
            root = Path(__file__).parent.parent
            one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # forks have no others
            self._process = subprocess.Popen(
                command, cwd=root, env=one_thread, pass_fds=[theirs.fileno()]
            )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait()

    @property
    def has_this_environment(self) -> bool:
        """Whether a new Python would import the same modules."""
        return self._environment == _of_python(os.environ)

    def run(
        self, arguments: list[str], folder: Path, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of the program, with nothing on standard input."""
        with ExitStack() as stack:
            outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(2)]
            nothing = stack.enter_context(Path(os.devnull).open("rb"))
            files: list[IO[bytes]] = [nothing, *outputs]
            request = pickle.dumps(Request(arguments, str(folder), dict(os.environ)))
            sizes = len(request).to_bytes(4, "big")
            socket.send_fds(self._socket, [sizes], [file.fileno() for file in files])
            self._socket.sendall(request)
            code = self._returncode(arguments, timeout)
            for file in outputs:
                file.seek(0)
            out, errors = (file.read().decode() for file in outputs)
        return subprocess.CompletedProcess(arguments, code, out, errors)

    def _returncode(self, arguments: list[str], timeout: float) -> int:
        pid = _read_number(self._socket)
        self._socket.settimeout(timeout)
        try:
            return _read_number(self._socket)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._socket.settimeout(None)
            _read_number(self._socket)
            raise subprocess.TimeoutExpired(arguments, timeout) from None
        finally:
            self._socket.settimeout(None)


def _of_python(environment: os._Environ[str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


def _read_number(connection: socket.socket) -> int:
    return int.from_bytes(_read(connection, 4), "big", signed=True)


def _read(connection: socket.socket, n_bytes: int) -> bytes:
    found = b""
    while len(found) < n_bytes:
        more = connection.recv(n_bytes - len(found))
        if not more:
            raise EOFError("the process that forks has ended")
        found += more
    return found


def _serve(connection: socket.socket) -> None:
    """Fork for each request, and send the process id and then the exit code. Returns in a fork."""
    for name in (*_modules(), *ALSO_IMPORTED):
        with suppress(ImportError):
            import_module(name)
    gc.freeze()  # forks would copy all memory that their collections look through
    while True:
        size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
        if not size:
            os._exit(0)
        request = pickle.loads(_read(connection, int.from_bytes(size, "big")))
        pid = os.fork()
        if pid == 0:
            connection.close()
            return _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(pid.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(code.to_bytes(4, "big", signed=True))


def _modules() -> Iterator[str]:
    """Those of the package, without programs and parts that import large libraries."""
    left_out = tuple(f"{ggufsurgeon.__name__}.{part}" for part in OTHER_LIBRARIES)
    for module in walk_packages(ggufsurgeon.__path__, f"{ggufsurgeon.__name__}."):
        if not module.name.startswith(left_out) and not module.name.endswith(PROGRAMS):
            yield module.name


def _become(request: Request, descriptors: list[int]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = ["ggufsurgeon", *request.arguments]


def _main() -> NoReturn:
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from ggufsurgeon.__main__ import main

    main()


if __name__ == "__main__":
    _main()
