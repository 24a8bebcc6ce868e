"""What is chosen about the prompts of a chat model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    """The tag that ends the thinking, such as `</think>`: what is before it is not scored."""
