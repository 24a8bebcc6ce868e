"""llama-cpp-python's class `Llama` over a model that is loaded already.

`Llama` loads a model itself, by the class that its module calls `internals.LlamaModel`. Its
constructor is run here with other classes behind `internals`; nobody else's `Llama` changes.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

from ggufsurgeon.engine.library import llama_cpp
from ggufsurgeon.engine.model import Model
from ggufsurgeon.engine.threads import default_threads


def llama_over(model: Model, **options: Any) -> Any:
    """A `llama_cpp.Llama` with a context of its own over a loaded model.

    `options` are those of that class, but for those of loading. It keeps the model loaded; when the
    model is freed, its context is freed before, and every later use raises UsageError. Raises
    UsageError when memory does not suffice for the context.
    """
    llama_cpp()
    from llama_cpp import Llama

    n_threads = model.options.n_threads or default_threads()
    threads = {"n_threads": n_threads, "n_threads_batch": n_threads}
    llama = Llama.__new__(Llama)
    constructor = _with_classes_for(model, Llama.__init__)
    constructor(llama, str(model.path), **{"verbose": False, **threads, **options})
    return llama


def _with_classes_for(model: Model, constructor: Any) -> FunctionType:
    """The constructor of `Llama`, for which `internals` has other classes."""
    from ggufsurgeon.engine.high_level.llama_classes import GuardedLlamaContext, LoadedLlamaModel

    internals = SimpleNamespace(**vars(constructor.__globals__["internals"]))
    internals.LlamaModel = partial(LoadedLlamaModel, model)
    internals.LlamaContext = GuardedLlamaContext
    own = FunctionType(
        constructor.__code__,
        constructor.__globals__ | {"internals": internals},
        constructor.__name__,
        constructor.__defaults__,
        constructor.__closure__,
    )
    own.__kwdefaults__ = constructor.__kwdefaults__
    return own
