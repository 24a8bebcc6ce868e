"""From the body of a request to the arguments of the method of `Llama` that answers it."""

from __future__ import annotations

from typing import Any, TypeAlias

from ggufsurgeon.engine.high_level.server_types import (
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    ResponseFormat,
)
from ggufsurgeon.serving.openai_errors import RequestRefusedError

Body: TypeAlias = ChatBody | CompletionBody | EmbeddingBody
DEFAULTS: dict[str, Any] = {"temperature": 0.8}
"""As llama-server has it. llama-cpp-python's own defaults would penalize repetitions too."""
NOT_ARGUMENTS = {"n", "best_of", "user", "stream_options", "max_completion_tokens"}


def arguments_of(body: Body) -> dict[str, Any]:
    """The arguments that a body asks for. Raises RequestRefusedError for what is not supported."""
    arguments: dict[str, Any] = body.model_dump(
        exclude_unset=True, exclude_none=True, exclude=NOT_ARGUMENTS
    )
    if isinstance(body, EmbeddingBody):
        return arguments
    for field in ("n", "best_of"):
        if (getattr(body, field, None) or 1) != 1:
            raise RequestRefusedError(400, f"{field}: expected 1, the number of answers")
    if isinstance(body, CompletionBody):
        arguments["prompt"] = _one_prompt(body.prompt)
    else:
        arguments |= _chat_arguments(body)
    return DEFAULTS | arguments


def has_usage(body: Body) -> bool:
    """Whether a stream is to end with a count of its tokens."""
    options = getattr(body, "stream_options", None)
    return bool(options and options.include_usage)


def _one_prompt(prompt: str | list[str] | list[int]) -> str | list[int]:
    """The prompt, which may be the one of a list."""
    if isinstance(prompt, str) or (prompt and isinstance(prompt[0], int)):
        return prompt
    if len(prompt) != 1:
        raise RequestRefusedError(400, "prompt: expected one text")
    return str(prompt[0])


def _chat_arguments(body: ChatBody) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if body.max_completion_tokens is not None:
        arguments["max_tokens"] = body.max_completion_tokens
    if body.response_format is not None:
        arguments["response_format"] = _as_json_object(body.response_format)
    if body.tool_choice == "required":
        raise RequestRefusedError(400, "tool_choice: expected none, auto or the name of a function")
    if body.logprobs:
        raise RequestRefusedError(400, "logprobs: not supported")
    return arguments


def _as_json_object(asked: ResponseFormat) -> dict[str, Any]:
    """The form that llama-cpp-python takes: a `json_object` that may have a schema."""
    if asked.type == "text":
        return {"type": "text"}
    schema = asked.schema_ if asked.json_schema is None else asked.json_schema.get("schema")
    return {"type": "json_object"} | ({} if schema is None else {"schema": schema})
