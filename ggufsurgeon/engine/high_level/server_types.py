"""The request bodies of llama-cpp-python's server, with what OpenAI's API has beside them.

Fields that neither knows are ignored, as OpenAI's own server does.
"""

from __future__ import annotations

from typing import Any, Literal

from llama_cpp.server import types
from pydantic import BaseModel, Field


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    include_usage: bool = False
    """Whether a last chunk counts the tokens."""


class ResponseFormat(BaseModel):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    """That of `json_object`, as llama-cpp-python has it."""
    json_schema: dict[str, Any] | None = None
    """OpenAI's form: the schema is its key `schema`."""


class ChatBody(types.CreateChatCompletionRequest):  # type: ignore[misc]
    """A request for the next message of a conversation."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """The name that OpenAI's API has for `max_tokens` since 2024."""
    temperature: float | None = Field(None, ge=0)
    response_format: ResponseFormat | None = None
    stream_options: StreamOptions | None = None


class CompletionBody(types.CreateCompletionRequest):  # type: ignore[misc]
    """A request for the continuation of a text, or of tokens."""

    prompt: str | list[str] | list[int]
    max_tokens: int | None = Field(16, ge=1)
    temperature: float | None = Field(None, ge=0)
    stream_options: StreamOptions | None = None


class EmbeddingBody(types.CreateEmbeddingRequest):  # type: ignore[misc]
    """A request for embeddings."""
