"""Contexts that a session keeps between requests, each a `llama_cpp.Llama` under a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ggufsurgeon.aliasing.aliased_model import AliasedModel, alias
from ggufsurgeon.aliasing.placement import Placement, placements_in
from ggufsurgeon.engine.high_level.llama_over import llama_over
from ggufsurgeon.engine.model import Devices, Model
from ggufsurgeon.engine.sources import Sources
from ggufsurgeon.inference.execution import is_plain
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Session

DEFAULT_N_CTX = 4096
POOLING_MEAN = 1
"""`LLAMA_POOLING_TYPE_MEAN`, include/llama.h."""


@dataclass(frozen=True)
class ContextSettings:
    """The size of a context and the chat template of its conversations."""

    n_ctx: int | None = None
    """Tokens of the context; None for 4096, or for all of a model that was trained on fewer."""
    chat_format: str | None = None
    """A chat format of llama-cpp-python, such as `chatml`; None for the template in the file."""


@dataclass(frozen=True)
class ContextKey:
    """What a context is made of. A name under which another is asked for gets a new context."""

    models: ModelPaths
    layer_path: LayerPath
    devices: Devices
    settings: ContextSettings
    has_embeddings: bool = False


@dataclass(frozen=True)
class KeptContext:
    """A context, and the model that it runs."""

    key: ContextKey
    model: Model
    llama: Any

    def placements(self) -> tuple[Placement, ...]:
        """Where the weights and the cache of each position are."""
        if isinstance(self.model, AliasedModel):
            return self.model.placements()
        return placements_in(self.key.layer_path, [self.model.devices()])

    def close(self) -> None:
        """Free the context, and the model if it is an alias of another."""
        self.llama.close()
        if isinstance(self.model, AliasedModel):
            self.model.free()


def context_named(session: Session, name: str, key: ContextKey) -> KeptContext:
    """The context under `name`; it is made when first asked for, or when `key` has changed.

    Raises RefusedError and AliasingUnavailableError for a path that cannot be aliased, UsageError
    where memory does not suffice.
    """
    sources = key.models.loaded(session, key.devices)
    kept: KeptContext | None = session.kept.get(name)
    if kept is not None and kept.key == key:
        return kept
    if kept is not None:
        del session.kept[name]
        kept.close()
    session.kept[name] = made = _make(sources, key)
    return made


def _make(sources: Sources, key: ContextKey) -> KeptContext:
    model = sources.models[0]
    if not is_plain(sources, key.layer_path):
        model = alias(sources, key.layer_path)
    n_ctx = key.settings.n_ctx or min(DEFAULT_N_CTX, model.n_ctx_train or DEFAULT_N_CTX)
    model.check_context(n_ctx)
    pooling = {"embedding": True, "pooling_type": _pooling_type(model)}
    llama = llama_over(
        model,
        n_ctx=n_ctx,
        chat_format=key.settings.chat_format,
        **(pooling if key.has_embeddings else {}),
    )
    return KeptContext(key, model, llama)


def _pooling_type(model: Model) -> int:
    """The file's way to make one embedding of those of all tokens; their mean where it has none."""
    header = model.file.header
    pooling = header.get(f"{header.architecture}.pooling_type")
    return pooling if isinstance(pooling, int) and pooling > 0 else POOLING_MEAN
