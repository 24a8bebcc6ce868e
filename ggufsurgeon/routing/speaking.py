"""Text generated from a prompt along a layer path: a job for a runner."""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass
from pathlib import Path

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.routing.route import route
from ggufsurgeon.workers.session import Reporter, Session


@dataclass(frozen=True)
class Speech:
    """The text that a model generated, and how fast."""

    layer_path: str
    text: str
    n_prompt: int
    n_tokens: int
    seconds_to_first: float
    """Time for making the contexts, running the prompt and drawing the first token."""
    tokens_per_second: float
    """Rate of the tokens after the first; 0 when there are none."""


def speak(
    session: Session,
    path: Path,
    layer_path: LayerPath,
    prompt: bytes,
    n_tokens: int,
    sampling: Sampling,
    options: Devices,
    reporter: Reporter,
) -> Speech:
    """Generate up to `n_tokens` tokens after the prompt; each piece of text is emitted as it comes.

    Raises UsageError for a model that does not continue texts.
    """
    model = session.model(path, options)
    if model.no_text:
        raise UsageError(f"{path} cannot continue a text: {model.no_text}")
    tokens = model.tokenize(prompt)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, times = "", [time.perf_counter()]
    for token in route(model, layer_path).generate(tokens, n_tokens, sampling):
        piece = decoder.decode(model.text_of(token))
        reporter.emit(piece)
        text += piece
        times.append(time.perf_counter())
    return Speech(str(layer_path), text, len(tokens), len(times) - 1, *_speed(times))


def _speed(times: list[float]) -> tuple[float, float]:
    """Seconds to the first token, and tokens per second behind it."""
    if len(times) < 2:
        return 0.0, 0.0
    rest = times[-1] - times[1]
    return times[1] - times[0], (len(times) - 2) / rest if rest else 0.0
