"""The request bodies of llama-cpp-python's server, which need its extra `server`."""

from __future__ import annotations

from llama_cpp.server.types import CreateChatCompletionRequest as ChatBody
from llama_cpp.server.types import CreateCompletionRequest as CompletionBody
from llama_cpp.server.types import CreateEmbeddingRequest as EmbeddingBody

__all__ = ["ChatBody", "CompletionBody", "EmbeddingBody"]
