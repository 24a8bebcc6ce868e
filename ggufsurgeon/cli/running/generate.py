"""`ggufsurgeon generate`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.devices import print_placements
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.serializers import generated_text_as_json
from ggufsurgeon.cli.output.terminal import print_json, print_note, print_piece, print_text, watched
from ggufsurgeon.cli.running.sampling_options import Seed, Temperature, TopK, TopP
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import (
    LAYER_PATH,
    Damped,
    Drops,
    Json,
    Layers,
    Quiet,
    Source,
    Strength,
    Times,
    Windows,
    With,
    check_context,
)
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, asked_path

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.inference.text import GeneratedText


@with_device_options
def generate(
    model: Source,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="Prompt to continue.", show_default=False)
    ],
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    recipe: RecipeFile = None,
    routed: Annotated[
        bool,
        typer.Option(
            "--routed",
            help="Route the path through the unmodified models, pass by pass, as `verify` does "
            "(slower).",
            rich_help_panel=LAYER_PATH,
        ),
    ] = False,
    n_tokens: Annotated[
        int,
        typer.Option(
            "--tokens",
            "-n",
            "--predict",
            "--n-predict",
            metavar="N",
            min=1,
            help="Maximum number of tokens to generate.",
        ),
    ] = 128,
    temperature: Temperature = 0.0,
    top_k: TopK = 40,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate text with a model along a layer path, without writing a file."""
    file = gs.open(model)
    check_context(file, n_tokens, "--tokens")
    options = (window, times, drop, layers, strength, damped)
    asked = asked_path(model, recipe, options, with_)
    tell_further_models(model, asked.others, devices)
    others = all_on_disk(asked.others)
    with (
        gs.load(on_disk(model), devices, others=others, outside=asked.outside) as loaded,
        ExitStack() as bar,
    ):
        tell_devices(loaded, devices)
        progress = bar.enter_context(watched())

        def show(piece: str) -> None:
            bar.close()  # it shows the prompt alone: lines of a bar would part the text
            if not json:
                print_piece(piece)

        result = loaded.generate(
            prompt,
            asked.path,
            max_tokens=n_tokens,
            sampling=gs.Sampling(temperature, top_k, top_p, seed),
            routed=routed,
            on_text=show,
            progress=progress,
        )
    if json:
        print_json(generated_text_as_json(result))
    else:
        _print_end(result)
    check_context(file, result.n_prompt, "a prompt")


def _print_end(result: GeneratedText) -> None:
    """What follows the text: how it was run, and how fast."""
    print_text("")
    if result.why_routed:
        print_note(f"routed, since the path cannot be run aliased: {result.why_routed}")
    print_placements(result.placements)
    print_note(
        f"{result.n_tokens} tokens along {result.layer_path} ({result.execution}), the first after "
        f"{result.seconds_to_first:.1f} s, then {result.tokens_per_second:.1f} tokens/s"
    )
