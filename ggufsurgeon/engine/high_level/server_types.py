"""The request bodies of llama-cpp-python's server."""

from __future__ import annotations

from llama_cpp.server import types


class ChatBody(types.CreateChatCompletionRequest):  # type: ignore[misc]
    """A request for the next message of a conversation."""

    max_completion_tokens: int | None = None
    """The name that OpenAI's API has for `max_tokens` since 2024."""


class CompletionBody(types.CreateCompletionRequest):  # type: ignore[misc]
    """A request for the continuation of a text."""


class EmbeddingBody(types.CreateEmbeddingRequest):  # type: ignore[misc]
    """A request for embeddings."""
