"""`ggufsurgeon chat`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.terminal import print_note
from ggufsurgeon.cli.running.conversation import Conversation
from ggufsurgeon.cli.running.sampling_options import Seed, Temperature, TopK, TopP
from ggufsurgeon.cli.shared_options.context_options import ChatFormat, ContextSize
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import (
    Damped,
    Drops,
    Layers,
    Quiet,
    Source,
    Strength,
    Times,
    Windows,
    With,
    check_context,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, asked_path_beside_model
from ggufsurgeon.cli.shared_options.standard_input import STANDARD_INPUT, check_read_once

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices


@with_device_options
def chat(
    model: Source,
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    recipe: RecipeFile = None,
    system: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--system-prompt", "-sys", metavar="TEXT", help="System prompt of the conversation."
        ),
    ] = None,
    n_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--tokens",
            "-n",
            "--predict",
            "--n-predict",
            metavar="N",
            min=1,
            help="Maximum number of tokens per answer.",
            show_default="as many as fit in the context",
        ),
    ] = None,
    ctx: ContextSize = None,
    chat_format: ChatFormat = None,
    temperature: Temperature = 0.8,
    top_k: TopK = 40,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    *,
    devices: Devices,
    quiet: Quiet = False,
) -> None:
    """Chat with a model along a layer path, without writing a file."""
    from ggufsurgeon.inference.contexts import ContextSettings

    check_read_once({"the conversation": STANDARD_INPUT, "--recipe": recipe})
    file = gs.open(model)
    if ctx is not None:
        check_context(file, ctx)
    options = (window, times, drop, layers, strength, damped)
    asked = asked_path_beside_model(model, recipe, options, with_, beside=None)
    sampling = {
        "max_tokens": n_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it ends an answer, not the program
    tell_further_models(model, asked.others, devices)
    with gs.load(on_disk(model), devices, others=all_on_disk(asked.others)) as loaded:
        tell_devices(loaded, devices)
        settings = ContextSettings(ctx, chat_format)
        talk = Conversation(loaded, asked.path, settings, sampling, system, len(asked.others))
        talk.start()
        _converse(talk)


def _converse(talk: Conversation) -> None:
    """Take lines until the end of the input, or until one ends the conversation."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # any bytes are text to a model
    read_line = _line_reader()
    while True:
        try:
            if not talk.take(read_line()):
                return
        except EOFError:
            return
        except KeyboardInterrupt:
            print_note("/quit or Ctrl-D ends the conversation")


def _line_reader() -> Callable[[], str]:
    """What reads a line, and raises EOFError at the end: with a prompt in a terminal alone."""
    if sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty():
        with suppress(ImportError):  # where it exists, input() keeps a history and can be edited
            import readline  # noqa: F401
        return lambda: input("> ")
    return _read_line


def _read_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
