"""`ggufsurgeon serve`."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Optional

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.devices import print_placements
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.terminal import print_note, print_warning
from ggufsurgeon.cli.shared_options.context_options import ChatFormat, ContextSize
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.named_paths import add_named_paths
from ggufsurgeon.cli.shared_options.options import (
    Quiet,
    Source,
    With,
    check_context,
)
from ggufsurgeon.cli.shared_options.recipe_option import (
    AskedPath,
    RecipeFile,
    asked_path_beside_model,
)
from ggufsurgeon.container.quoting import printable
from ggufsurgeon.container.shards import parse_name
from ggufsurgeon.errors import MissingExtraError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.locating.model_name import shown_name

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices

SERVER = "Server"


@with_device_options
def serve(
    model: Source,
    models: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
        typer.Option(
            "--model",
            metavar="NAME=LAYERS",
            help="Name for a layer path over the models. May be given several times.",
            show_default="only the unmodified model",
        ),
    ] = None,
    with_: With = None,
    recipe: RecipeFile = None,
    alias: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--alias",
            "-a",
            metavar="NAME",
            help="Name of the unmodified model.",
            show_default="the file name without .gguf",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Port (0: any).", rich_help_panel=SERVER),
    ] = 8080,
    api_key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--api-key",
            metavar="KEY",
            envvar="LLAMA_API_KEY",
            help="API key that clients must send.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    ctx: ContextSize = None,
    chat_format: ChatFormat = None,
    *,
    devices: Devices,
    quiet: Quiet = False,
) -> None:
    """Serve a model and layer paths over it through an OpenAI-compatible API."""
    file = gs.open(model)
    if ctx is not None:
        check_context(file, ctx)
    paths: dict[str, AnyPath | None] = {alias or _name_of(file): None}
    add_named_paths(paths, models or [])
    asked = asked_path_beside_model(model, recipe, None, with_, paths.values())
    _add_recipe(paths, asked)
    tell_further_models(model, asked.others, devices)
    for path in paths.values():
        if path is not None:  # what is refused is refused before the model is loaded
            file.plan(path, others=asked.others)
    _check_extra()
    from ggufsurgeon.inference.contexts import ContextSettings
    from ggufsurgeon.serving.http_server import listening, run
    from ggufsurgeon.serving.service import Service

    if api_key is None and not _is_loopback(host):
        print_warning(f"{host} can be reached from other machines, and no --api-key is given")
    listener = listening(host, port)
    others = all_on_disk(asked.others)
    service = Service(on_disk(model), paths, ContextSettings(ctx, chat_format), devices, others)
    tell_devices(service.model(), devices)
    print_note(f"loading {' and '.join(map(shown_name, (model, *asked.others)))}")
    print_placements(service.start())
    address = f"http://{host}:{listener.getsockname()[1]}/v1"
    with suppress(Interrupted):  # before or behind the server, which takes signals itself
        print_note(f"serving {', '.join(paths)} at {address}; Ctrl-C ends it")
        run(service, listener, api_key)
    print_note("stopped")


def _name_of(model: gs.ModelFile) -> str:
    """The name of a model's file without its ending, and without its number as a shard."""
    if model.file.shards and (named := parse_name(model.path.name)):
        return printable(named[0])
    return printable(model.path.name.removesuffix(".gguf"))


def _add_recipe(paths: dict[str, AnyPath | None], of_recipe: AskedPath) -> None:
    """Add the path of a recipe. Raises UsageError where its name is that of another path."""
    if of_recipe.path is None:
        return
    if of_recipe.name in paths:
        raise UsageError(f"--recipe: another model is already named {of_recipe.name}")
    paths[of_recipe.name] = of_recipe.path


def _check_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "the server needs packages that are not installed",
            hint="pip install 'ggufsurgeon[serve]'",
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
