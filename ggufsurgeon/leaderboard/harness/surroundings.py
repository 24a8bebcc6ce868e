"""Settings of the process that are changed while the harness works, and restored afterwards."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType

_LOGGERS = ("lm_eval", "datasets", "huggingface_hub", "math_verify", "filelock")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines of the harness and its packages are shown."""
    import lm_eval.api.task
    from datasets.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    bars = lm_eval.api.task.tqdm
    had_bars = not are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    lm_eval.api.task.tqdm = partial(bars, disable=True)
    disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        lm_eval.api.task.tqdm = bars
        if had_bars:
            enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def seeded() -> Iterator[None]:
    """The random numbers that the harness draws are the same each time.

    It shuffles GPQA's choices, and draws letters for two prompts of IFEval, from `random`. The seed
    is that of the harness' `simple_evaluate`.
    """
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def nothing_cached() -> Iterator[None]:
    """What `datasets` computes is neither read from its cache nor kept in it."""
    from datasets import disable_caching, enable_caching, is_caching_enabled

    was_enabled = is_caching_enabled()
    disable_caching()
    try:
        yield
    finally:
        if was_enabled:
            enable_caching()


@contextmanager
def seeded_language_detection() -> Iterator[None]:
    """Languages that IFEval's instructions ask for are detected the same each time."""
    from langdetect import DetectorFactory

    seed = DetectorFactory.seed
    DetectorFactory.seed = 0
    try:
        yield
    finally:
        DetectorFactory.seed = seed


@contextmanager
def signals_heeded() -> Iterator[None]:
    """What a signal's handler raises is raised after the block, and SIGALRM is left as it was.

    The harness' scorer of MATH catches every exception, that of Ctrl-C too, and would score the
    document as wrong. It is to be used in the main thread.
    """
    received: list[int] = []
    handlers = {int(number): signal.getsignal(number) for number in _SIGNALS}
    alarm = signal.getsignal(signal.SIGALRM) if hasattr(signal, "SIGALRM") else None
    with ExitStack() as stack:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, partial(_remember, received, handler))
                stack.callback(signal.signal, number, handler)
        if alarm is not None:
            stack.callback(signal.signal, signal.SIGALRM, alarm)
        yield
    for number in received:
        handler = handlers[number]
        if callable(handler):
            handler(number, None)


def _remember(received: list[int], handler: object, number: int, frame: FrameType | None) -> None:
    received.append(number)
    assert callable(handler)
    handler(number, frame)
