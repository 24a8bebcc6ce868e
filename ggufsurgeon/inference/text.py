"""Text that continues a prompt along a layer path."""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass

from ggufsurgeon.aliasing.placement import Placement
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.engine.sampling import Sampling
from ggufsurgeon.errors import UsageError
from ggufsurgeon.inference.execution import opened_execution
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session


@dataclass(frozen=True)
class GeneratedText:
    """The text that a model generated, and how fast."""

    layer_path: str
    execution: str
    """`plain` for the unmodified model, else `aliased` or `routed`."""
    why_routed: str
    """The reason that the path could not be aliased; empty where it was, or routing was asked."""
    placements: tuple[Placement, ...]
    """Where the weights and the cache of each position are."""
    text: str
    tokens: tuple[int, ...]
    """Ids of the generated tokens."""
    n_prompt: int
    """Number of tokens of the prompt."""
    seconds_to_first: float
    """Time for making the contexts, running the prompt and drawing the first token."""
    tokens_per_second: float
    """Rate of the tokens after the first; 0 when there are none."""

    @property
    def n_tokens(self) -> int:
        """Number of generated tokens."""
        return len(self.tokens)


def generate_text(
    session: Session,
    models: ModelPaths,
    layer_path: LayerPath,
    prompt: bytes,
    n_tokens: int,
    sampling: Sampling,
    options: Devices,
    routed: bool,
    reporter: Reporter,
) -> GeneratedText:
    """Generate up to `n_tokens` tokens after the prompt; each piece of text is emitted as it comes.

    Raises UsageError for a model that does not continue texts.
    """
    sources = models.loaded(session, options)
    model = sources.tokenizer
    if model.no_text:
        raise UsageError(f"{model.path} cannot continue a text: {model.no_text}")
    prompt_tokens = model.tokenize(prompt)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, tokens, times = "", [], [time.perf_counter()]
    with opened_execution(sources, layer_path, routed=routed) as execution:
        for token in execution.route.generate(prompt_tokens, n_tokens, sampling, reporter):
            piece = decoder.decode(model.text_of(token))
            reporter.emit(piece)
            text += piece
            tokens.append(token)
            times.append(time.perf_counter())
    return GeneratedText(
        str(layer_path),
        execution.kind,
        execution.why_routed,
        execution.placements,
        text,
        tuple(tokens),
        len(prompt_tokens),
        *_speed(times),
    )


def _speed(times: list[float]) -> tuple[float, float]:
    """Seconds to the first token, and tokens per second after it."""
    if len(times) < 2:
        return 0.0, 0.0
    rest = times[-1] - times[1]
    return times[1] - times[0], (len(times) - 2) / rest if rest else 0.0
