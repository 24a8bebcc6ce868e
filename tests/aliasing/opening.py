"""Aliased models for tests, with a source of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ggufsurgeon.aliasing.aliased_model import AliasedModel, alias
from ggufsurgeon.engine.graph.tensor import Tensor
from ggufsurgeon.engine.model import Devices, Model, loaded_model
from ggufsurgeon.engine.tensor_map import weights_of
from ggufsurgeon.layer_path.path import LayerPath


def alias_along(source: Model, path: str, *, scale_weights: bool = False) -> AliasedModel:
    """The model of a layer path over the weights of a loaded one."""
    return alias(source, LayerPath(path), scale_weights=scale_weights)


@contextmanager
def opened_alias(
    file: Path, path: str, devices: Devices | None = None
) -> Iterator[tuple[Model, AliasedModel]]:
    """A loaded model, and the model of a layer path over its weights."""
    with loaded_model(file, devices or Devices()) as source, alias_along(source, path) as model:
        yield source, model


def memory_of(model: Model) -> dict[str, set[int]]:
    """The addresses of the data of a model's weights, by their name."""
    found: dict[str, set[int]] = {}
    for name, address in weights_of(model.handle):
        found.setdefault(name, set()).add(Tensor.from_address(address).data)
    return found
