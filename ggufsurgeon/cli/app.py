"""The program: its commands, and what becomes of errors and signals."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.terminal import print_error, print_warning
from ggufsurgeon.cli.shared_options.single_values import SingleValuesCommand
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import GgufSurgeonError, PermissionsWarning
from ggufsurgeon.own_version import own_version

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
COMMANDS = (
    *("inspecting.inspect", "patching.plan", "patching.patch", "inspecting.verify"),
    *("patching.restore", "patching.recover", "publishing.recipe", "inspecting.diff"),
    *("publishing.patch_companion", "publishing.card", "inspecting.selftest"),
    *("measuring.perplexity", "running.generate", "running.chat", "running.serve"),
    *("measuring.choose", "measuring.leaderboard", "scanning.scan", "scanning.search"),
    *("scanning.report", "scanning.anatomy"),
)
"""Modules of the commands. Each has a function with the name of its module."""
EXIT_CODES = (
    "Exit codes: 0 done, 1 internal error, 2 usage, 3 malformed file, "
    "4 refused (nothing written), 5 write failed (destination unchanged, or see the error), "
    "6 memory ran out, "
    "7 verification failed, or files differ, 8 an optional dependency is missing or does not load, "
    "9 llama.cpp crashed."
)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _harmless_messages() -> Iterator[None]:
    """Escape arguments in the messages of typer: a shell expands `*` to names of hostile files."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            error.message = printable(error.message)  # type: ignore[attr-defined]
        raise


class _Commands(TyperGroup):
    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _harmless_messages():
            return super().make_context(*arguments, **options)

    def invoke(self, *arguments: Any, **options: Any) -> Any:
        with _harmless_messages():
            return super().invoke(*arguments, **options)


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
        typer.echo(f"ggufsurgeon {own_version()} ({_engine_version()})")
        raise typer.Exit


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


def command_name(module: str) -> str:
    """The command that a module has."""
    return module.rpartition(".")[2].replace("_", "-")


def make_app(modules: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with the commands of these modules."""
    made = typer.Typer(
        cls=_Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=HELP_OPTIONS,
        help="Change the depth of a language model in a quantized GGUF, exactly, and prove it.",
        epilog=EXIT_CODES,
    )
    made.callback()(_program)
    for module in modules:
        name = module.rpartition(".")[2]
        command = getattr(import_module(f"ggufsurgeon.cli.{module}"), name)
        made.command(command_name(module), cls=SingleValuesCommand, context_settings=HELP_OPTIONS)(
            command
        )
    return made


def _needed_modules(arguments: Sequence[str]) -> Sequence[str]:
    """The module of the command that is run, so that others need not be imported; else all."""
    asked = tuple(name for name in COMMANDS if command_name(name) in arguments[:1])
    return asked or COMMANDS


def main() -> NoReturn:
    """Run a command and exit with its code; 128 + N for a signal N."""
    program = make_app(_needed_modules(sys.argv[1:]))
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _interrupt)
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", PermissionsWarning)
    warnings.filterwarnings("ignore", module="distributed")  # errors of ours say it
    try:
        program(prog_name="ggufsurgeon")
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
