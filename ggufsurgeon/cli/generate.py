"""`ggufsurgeon generate`."""

from __future__ import annotations

from typing import Annotated

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.options import (
    LAYER_PATH,
    Drops,
    GpuLayers,
    Json,
    Layers,
    Quiet,
    Rpc,
    Source,
    TensorSplit,
    Threads,
    Times,
    Windows,
    check_context,
    device_options,
    optional_layer_path,
)
from ggufsurgeon.cli.sampling_options import Seed, Temperature, TopK, TopP
from ggufsurgeon.cli.serializers import generated_text_as_json
from ggufsurgeon.cli.terminal import print_json, print_note, print_piece, print_text


def generate(
    model: Source,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="Prompt to continue.", show_default=False)
    ],
    window: Windows = None,
    times: Times = None,
    drop: Drops = None,
    layers: Layers = None,
    routed: Annotated[
        bool,
        typer.Option(
            "--routed",
            help="Route the path through the unmodified model, pass by pass, as `verify` does "
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
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate text with a model along a layer path, without writing a file."""
    check_context(gs.open(model), n_tokens, "--tokens")
    with gs.load(model, device_options(n_gpu_layers, tensor_split, threads, rpc)) as loaded:
        result = loaded.generate(
            prompt,
            optional_layer_path(window, times, drop, layers),
            max_tokens=n_tokens,
            sampling=gs.Sampling(temperature, top_k, top_p, seed),
            routed=routed,
            on_text=None if json else print_piece,
        )
    if json:
        print_json(generated_text_as_json(result))
        return
    print_text("")
    if result.why_routed:
        print_note(f"routed, since the path cannot be run aliased: {result.why_routed}")
    print_note(
        f"{result.n_tokens} tokens along {result.layer_path} ({result.execution}), the first after "
        f"{result.seconds_to_first:.1f} s, then {result.tokens_per_second:.1f} tokens/s"
    )
