"""`ggufsurgeon perplexity`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ggufsurgeon as gs
from ggufsurgeon.api.reports.pictures import check_picture, draw_losses
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.measuring.measuring_options import (
    Base,
    BaseLayers,
    BaseLogits,
    Batch,
    Chunks,
    ChunkSize,
    Details,
    Plot,
    Replace,
    SaveLogits,
    Store,
    Stride,
    Text,
)
from ggufsurgeon.cli.measuring.perplexity_results import (
    along,
    identities_as_json,
    measured_as_json,
    print_measured,
)
from ggufsurgeon.cli.measuring.text_notes import noted_text
from ggufsurgeon.cli.output.further_models import tell_further_models
from ggufsurgeon.cli.output.models import all_on_disk, on_disk
from ggufsurgeon.cli.output.terminal import print_json, print_note, watched
from ggufsurgeon.cli.shared_options.device_options import tell_devices, with_device_options
from ggufsurgeon.cli.shared_options.options import (
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
from ggufsurgeon.cli.shared_options.recipe_option import RecipeFile, asked_path_beside_model
from ggufsurgeon.cli.shared_options.standard_input import check_read_once
from ggufsurgeon.errors import EngineError, UsageError
from ggufsurgeon.locating.model_name import model_name, shown_name

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.layer_path.edits import AnyPath
    from ggufsurgeon.layer_path.path import LayerPath
    from ggufsurgeon.scoring.results import PartialResult, PathResult
    from ggufsurgeon.scoring.task import Reference


@with_device_options
def perplexity(
    model: Source,
    text: Text,
    window: Windows = None,
    times: Times = None,
    strength: Strength = None,
    damped: Damped = False,
    drop: Drops = None,
    layers: Layers = None,
    with_: With = None,
    recipe: RecipeFile = None,
    base: Base = None,
    base_layers: BaseLayers = None,
    base_logits: BaseLogits = None,
    save_logits: SaveLogits = None,
    replace: Replace = False,
    ctx: ChunkSize = 512,
    chunks: Chunks = None,
    batch: Batch = 2048,
    stride: Stride = None,
    store: Store = None,
    plot: Plot = None,
    details: Details = False,
    *,
    devices: Devices,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the perplexity of a model on a text, by the algorithm of llama-perplexity.

    A layer path runs without a file, compared with the unmodified model or with a base.
    """
    if details and not json:
        raise UsageError("--details requires --json")
    if replace and save_logits is None and plot is None:
        raise UsageError("--replace is for the files of --save-logits and --plot; none is named")
    check_read_once({"--text": text, "--recipe": recipe})
    options = (window, times, drop, layers, strength, damped)
    base_path = None if base_layers is None else gs.LayerPath(base_layers)
    over_model = [] if base else [base_path]
    asked = asked_path_beside_model(model, recipe, options, with_, over_model)
    tell_further_models(model, asked.others, devices)
    if plot is not None:
        read = (model, *asked.others, text, base, base_logits)
        check_picture(
            plot, [path for path in read if path and not model_name(path)], replace=replace
        )
    for path in filter(None, (model, *asked.others, base)):
        check_context(gs.open(path), ctx)
    content = noted_text(text)
    names = shown_name(model), shown_name(base or base_logits or model)
    compared = None if base_logits else base or model
    what = identities_as_json(text, content, model, compared) if json else None
    show = partial(_show, names, text, what, details, plot, replace)
    reference = _reference(asked.path, base, base_path, base_logits)
    with gs.load(on_disk(model), devices, others=all_on_disk(asked.others)) as loaded:
        tell_devices(loaded, devices)
        score = partial(
            loaded.score,
            content,
            [asked.path],
            reference=reference,
            settings=gs.TextSettings(ctx, chunks, batch, stride),
            store=store,
            save_logits=save_logits,
            replace=replace,
        )
        _run(score, show, store)


def _reference(
    path: AnyPath | None,
    base: Path | None,
    base_path: LayerPath | None,
    base_logits: Path | None,
) -> Reference | None:
    """What the options compare with; a layer path alone, with the unmodified model."""
    if base_logits is not None:
        if base is not None or base_path is not None:
            raise UsageError(
                "a model is measured against one base: --base-logits excludes --base and "
                "--base-layers"
            )
        return gs.LogitsFileReference(base_logits)
    if base is not None:
        return gs.ModelReference(on_disk(base), base_path)
    return gs.PathReference(base_path) if path or base_path else None


def _run(
    score: Callable[..., tuple[PathResult, ...]],
    show: Callable[[PathResult], None],
    store: Path | None,
) -> None:
    """Score and show the result; where it is interrupted, that of the chunks so far."""
    latest: deque[PartialResult] = deque(maxlen=1)
    try:
        with watched() as progress:
            (result,) = score(progress=progress, on_result=latest.append)
    except Interrupted:
        for partial_result in latest:
            show(*partial_result.results())
        if not latest:
            print_note("interrupted before the first chunk finished")
        raise
    except EngineError as error:
        if store is not None and latest:
            error.state = f"{store} has all chunks so far; the same command resumes from them."
        raise
    show(result)


def _show(
    names: tuple[str, str],
    text: Path,
    identities: dict[str, Any] | None,
    details: bool,
    plot: Path | None,
    replace: bool,
    measured: PathResult,
) -> None:
    model, base = along(names, measured)
    try:
        if identities is not None:
            print_json(measured_as_json(measured, details, identities))
        else:
            print_measured(measured, model, base)
    finally:  # also where nobody reads on
        if plot is not None:
            title = f"Loss on {text.name}"
            draw_losses(measured, plot, title=title, model=model, base=base, replace=replace)
            print_note(f"wrote {plot}")
