"""llama-cpp-python's class `Llama` over a model that is loaded already.

`Llama` loads a model itself, by the class that its module calls `internals.LlamaModel`, and
compiles the chat templates of the file by `llama_chat_format.Jinja2ChatFormatter`. Its constructor
is run here with other classes for these names; other uses of `Llama` do not change.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

from ggufsurgeon.container.layout import pad
from ggufsurgeon.engine.installation.library import llama_cpp
from ggufsurgeon.engine.limits.threads import n_threads_of
from ggufsurgeon.engine.model import Model

CONTEXT_PADDING = 256
"""llama.cpp rounds contexts up to a multiple of it (src/llama-context.cpp, `GGML_PAD`)."""
DEFAULT_N_CTX = 512
"""That of `Llama`."""


def llama_over(model: Model, *, n_ctx: int = DEFAULT_N_CTX, **options: Any) -> Any:
    """A `llama_cpp.Llama` with a context of its own over a loaded model.

    `n_ctx` tokens (0: as many as the model was trained on) are rounded up to a multiple of 256.
    The other options are those of that class, but for those of loading. It keeps the model loaded;
    when the model is freed, its context is freed before, and every later use raises UsageError.
    Raises UsageError when memory does not suffice for the context.
    """
    llama_cpp()
    from ggufsurgeon.engine.high_level.llama_classes import CountingLlama

    n_threads = n_threads_of(model.options)
    threads = {"n_threads": n_threads, "n_threads_batch": n_threads}
    llama = CountingLlama.__new__(CountingLlama)
    constructor = _with_classes_for(model, CountingLlama.__init__)
    # Llama makes its arrays of the size that is asked for, and then fills that of llama.cpp.
    padded = pad(n_ctx or model.n_ctx_train, CONTEXT_PADDING)
    constructor(llama, str(model.path), **{"verbose": False, "n_ctx": padded, **threads, **options})
    return llama


def _with_classes_for(model: Model, constructor: Any) -> FunctionType:
    """The constructor of `Llama`, with classes of two modules replaced."""
    from ggufsurgeon.engine.high_level.llama_classes import (
        GuardedLlamaContext,
        IsolatedFormatter,
        LoadedLlamaModel,
    )

    internals = SimpleNamespace(**vars(constructor.__globals__["internals"]))
    internals.LlamaModel = partial(LoadedLlamaModel, model)
    internals.LlamaContext = GuardedLlamaContext
    formats = SimpleNamespace(**vars(constructor.__globals__["llama_chat_format"]))
    formats.Jinja2ChatFormatter = IsolatedFormatter
    own = FunctionType(
        constructor.__code__,
        constructor.__globals__ | {"internals": internals, "llama_chat_format": formats},
        constructor.__name__,
        constructor.__defaults__,
        constructor.__closure__,
    )
    own.__kwdefaults__ = constructor.__kwdefaults__
    return own
