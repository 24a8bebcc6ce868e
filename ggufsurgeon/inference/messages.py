"""Messages of a conversation as chat templates take them: each content is one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ggufsurgeon.errors import UsageError


def with_text_contents(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages, with the text parts of each content joined by line breaks.

    OpenAI's API has content as a text, as a list of parts, or null beside tool calls; most chat
    templates join it to other text. Raises UsageError for messages of another form, and for parts
    that are not text.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise UsageError("messages: expected a list of objects with role and content")
    return [_with_text_content(message, f"messages.{i}") for i, message in enumerate(messages)]


def _with_text_content(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise UsageError(f"{where}: expected an object with role and content")
    content = message.get("content")
    if content is None:
        if not message.get("tool_calls"):
            raise UsageError(f"{where}: the content is missing")
        content = ""
    elif isinstance(content, list):
        content = "\n".join(_text_of(part, f"{where}.content") for part in content)
    elif not isinstance(content, str):
        raise UsageError(f"{where}.content: expected a text or a list of parts")
    return {**message, "content": content}


def _text_of(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if kind != "text" or not isinstance(part.get("text"), str):
        raise UsageError(f"{where}: a part of type {kind}: the model reads text alone")
    return str(part["text"])
