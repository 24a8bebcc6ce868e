"""Settings for the prompts of a chat model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.engine.high_level.chat_renderer import chat_renderer
from ggufsurgeon.engine.high_level.chat_template import TEMPLATE_KEY
from ggufsurgeon.errors import UsageError
from ggufsurgeon.leaderboard.prompting import Prompting


@dataclass(frozen=True)
class ChatSettings:
    """How the chat template of a model is used, and how much a model may think.

    >>> import ggufsurgeon as gs
    >>> gs.ChatSettings({"enable_thinking": False}).n_thinking_tokens
    0
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the template, such as `enable_thinking`: JSON's types."""
    n_thinking_tokens: int = 0
    """Tokens that a generated text may have beyond the benchmark's own limit, to think in."""
    thinking_end: str | None = None
    """The tag that ends the thinking, such as `</think>`: the text before it is not scored."""


def chat_prompting(chat: ChatSettings, file: GgufFile, base: GgufFile) -> Prompting:
    """Prompts by the chat template of `file`, which `base` is to answer too.

    Raises UsageError where their templates differ, and what `chat_renderer` raises.
    """
    if file.header.get(TEMPLATE_KEY) != base.header.get(TEMPLATE_KEY):
        raise UsageError(
            f"{file.path} and {base.path} have different chat templates: prompts would differ",
            hint="Run each by itself, or both without templates.",
        )
    renderer = chat_renderer(file, chat.variables)
    return Prompting(renderer, chat.n_thinking_tokens, chat.thinking_end)
