"""How a layer path is run: as the loaded model itself, aliased over loaded weights, or routed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ggufsurgeon.aliasing.aliased_model import alias
from ggufsurgeon.aliasing.placement import Placement, placements_in
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.errors import AliasingUnavailableError, RefusedError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import Route, route
from ggufsurgeon.rules.blocks import find_blocks

PLAIN, ALIASED, ROUTED = "plain", "aliased", "routed"


@dataclass(frozen=True)
class Execution:
    """A layer path that is ready to run."""

    route: Route
    kind: str
    """`plain`, `aliased` or `routed`."""
    placements: tuple[Placement, ...]
    """Where the weights and the cache of each position are."""
    why_routed: str = ""
    """The reason that the path could not be aliased."""
    model: Model | None = None
    """The model whose blocks are those of the path, in order; None where it is routed."""


def is_plain(sources: Sources, layer_path: LayerPath) -> bool:
    """Whether the path is that of the first model, unmodified."""
    every = LayerPath.identity(find_blocks(sources.models[0].file).n_trunk)
    return layer_path == every and sources.outside_of(layer_path) == OutsideBlocks()


@contextmanager
def opened_execution(
    models: Model | Sequence[Model] | Sources, layer_path: LayerPath, *, routed: bool = False
) -> Iterator[Execution]:
    """Run `layer_path` aliased; routed where that is asked or aliasing cannot be.

    Raises RefusedError for a path that neither way runs exactly, with routing's reason.
    """
    sources = Sources.of(models)
    if routed or is_plain(sources, layer_path):
        yield _over_sources(sources, layer_path, ROUTED if routed else PLAIN)
        return
    try:
        aliased = alias(sources, layer_path)
    except (AliasingUnavailableError, RefusedError) as error:
        yield _over_sources(sources, layer_path, ROUTED, str(error))
        return
    with aliased:
        every = LayerPath.identity(len(layer_path.blocks))
        yield Execution(route(aliased, every), ALIASED, aliased.placements(), model=aliased)


def _over_sources(sources: Sources, layer_path: LayerPath, kind: str, why: str = "") -> Execution:
    route_ = route(sources, layer_path)
    placements = placements_in(layer_path, sources.devices())
    run_as_it_is = sources.models[0] if kind == PLAIN else None
    return Execution(route_, kind, placements, why, run_as_it_is)
