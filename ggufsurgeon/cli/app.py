"""The program: its commands, and what becomes of errors and signals."""

from __future__ import annotations

import signal
import sys
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from ggufsurgeon.cli.files.diff import diff
from ggufsurgeon.cli.files.inspect import inspect
from ggufsurgeon.cli.files.patch import patch
from ggufsurgeon.cli.files.plan import plan
from ggufsurgeon.cli.files.recipe import recipe
from ggufsurgeon.cli.files.recover import recover
from ggufsurgeon.cli.files.restore import restore
from ggufsurgeon.cli.files.verify import verify
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.measuring.choose import choose
from ggufsurgeon.cli.measuring.perplexity import perplexity
from ggufsurgeon.cli.running.chat import chat
from ggufsurgeon.cli.running.generate import generate
from ggufsurgeon.cli.running.serve import serve
from ggufsurgeon.cli.scanning.report import report
from ggufsurgeon.cli.scanning.scan import scan
from ggufsurgeon.cli.terminal import print_error, print_warning
from ggufsurgeon.errors import GgufSurgeonError, PermissionsWarning

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    help="Change the depth of a language model in a quantized GGUF, exactly, and prove it.",
    epilog="Exit codes: 0 done, 1 internal error, 2 usage, 3 malformed file, "
    "4 refused (nothing written), 5 write failed (destination unchanged), 6 memory ran out, "
    "7 verification failed, or files differ, 8 an optional dependency is missing or does not load, "
    "9 llama.cpp crashed.",
)
COMMANDS = (
    *(inspect, plan, patch, verify, restore, recover, recipe, diff),
    *(perplexity, generate, chat, serve, choose, scan, report),
)
for command in COMMANDS:
    app.command(context_settings=HELP_OPTIONS)(command)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _engine_version() -> str:
    """The versions, or why they cannot be had; a library that crashes takes a worker with it."""
    if find_spec("llama_cpp") is None:
        return "llama-cpp-python is not installed"
    from ggufsurgeon.store.machine import version_job
    from ggufsurgeon.workers.worker import Worker

    try:
        with Worker() as worker:
            return worker.run(version_job)
    except GgufSurgeonError as error:
        return str(error)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ggufsurgeon {version('ggufsurgeon')} ({_engine_version()})")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the versions of ggufsurgeon, llama-cpp-python and ggml, and exit.",
        ),
    ] = False,
) -> None: ...


def main() -> NoReturn:
    """Run a command and exit with its code; 128 + N for a signal N."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _interrupt)
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", PermissionsWarning)
    try:
        app(prog_name="ggufsurgeon")
    except GgufSurgeonError as error:
        print_error(str(error), error.state, error.hint)
        sys.exit(error.exit_code)
    except Interrupted as interrupt:
        name = signal.Signals(interrupt.number).name
        print_error(f"interrupted by {name}", interrupt.state, "")
        sys.exit(128 + interrupt.number)
    sys.exit(0)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for other in SIGNALS:  # a second one must not stop the tidying
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)


_show_as_python = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show warnings that are meant for the user without the line of code they come from."""
    if issubclass(category, PermissionsWarning):
        print_warning(str(message))
    else:
        _show_as_python(message, category, filename, lineno, file, line)
