"""What can be amiss with a machine: circumstances that commands of the documentation run in.

A new one is a function here that returns a `Circumstance`, and its words in `CIRCUMSTANCES`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.engine.serving import has_rpc


class NotToBeHadError(Exception):
    """This machine cannot be brought into the circumstance."""


@dataclass(frozen=True)
class Circumstance:
    """What a command line begins with, and a folder of modules that hide the installed ones."""

    prefix: str = ""
    modules: Path | None = None


def normal(_: Path) -> Circumstance:
    return Circumstance()


def without(module: str) -> Callable[[Path], Circumstance]:
    """A package is not installed."""
    return instead(module, f'raise ImportError("No module named {module!r}")')


def instead(module: str, code: str) -> Callable[[Path], Circumstance]:
    """Other code runs where a package would be imported."""

    def made(folder: Path) -> Circumstance:
        modules = folder / ".modules"
        shutil.rmtree(modules, ignore_errors=True)
        modules.mkdir()
        (modules / f"{module}.py").write_text(f"{code}\n")
        return Circumstance(modules=modules)

    return made


def injected(what: str, *, before: str = "") -> Callable[[Path], Circumstance]:
    """System calls fail, or signals come, as strace(1) is told; `before` is a command."""

    def made(_: Path) -> Circumstance:
        if shutil.which("strace") is None:
            raise NotToBeHadError("strace is not here to make system calls fail")
        if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
            raise NotToBeHadError("strace may not trace here")
        return Circumstance(f"{before}strace -f -o /dev/null -e inject={what} ")

    return made


def with_rpc(_: Path) -> Circumstance:
    if not has_rpc():
        raise NotToBeHadError("llama-cpp-python has no RPC backend")
    return Circumstance()


def with_dask(_: Path) -> Circumstance:
    if find_spec("distributed") is None:
        raise NotToBeHadError("distributed is not installed")
    return Circumstance()


def without_gpu(_: Path) -> Circumstance:
    from ggufsurgeon.engine.devices.registry import gpu_descriptions

    if gpu_descriptions():
        raise NotToBeHadError("llama.cpp finds a GPU")
    return Circumstance()


def limited(limit: str) -> Callable[[Path], Circumstance]:
    """The shell's ulimit, with its options."""
    return lambda _: Circumstance(f"ulimit {limit}; ")


def room_of_most_disks(folder: Path) -> Circumstance:
    if shutil.disk_usage(folder).free > 5 << 40:
        raise NotToBeHadError("the disk has more than 5 TiB free")
    return Circumstance()


CIRCUMSTANCES: Mapping[str, Callable[[Path], Circumstance]] = {
    "": normal,
    "llama-cpp-python is not installed": without("llama_cpp"),
    "llama.cpp has its RPC backend": with_rpc,
    "distributed is installed": with_dask,
    "llama.cpp finds no GPU": without_gpu,
    "matplotlib is not installed": without("matplotlib"),
    "the system kills the worker": instead("llama_cpp", "import os; os.kill(os.getpid(), 9)"),
    "llama.cpp's library is not where it should be": lambda _: Circumstance(
        "LLAMA_CPP_LIB_PATH=/nowhere "
    ),
    "llama.cpp was built for another CPU": instead(
        "llama_cpp", "import os; os.kill(os.getpid(), 4)"
    ),
    "files have 1 MiB at most": limited("-f 1024"),
    "a process has 4 GB of memory at most": limited("-v 4000000"),
    "the file system holds no file of that size": injected("fallocate:error=EFBIG"),
    "Ctrl-C comes while it writes": injected("sendfile:signal=INT:when=1"),
    "the disk has less than 5 TiB free": room_of_most_disks,
    "the disk is full": injected("fallocate:error=ENOSPC"),
    "permissions cannot be changed": injected(
        "chmod,fchmod,fchmodat:error=EPERM", before="chmod 600 private.gguf; "
    ),
}
