"""The routes of the server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import StreamingResponse

from ggufsurgeon.engine.high_level.server_types import ChatBody, CompletionBody, EmbeddingBody
from ggufsurgeon.inference.requests import RequestKind
from ggufsurgeon.serving.arguments import Body, arguments_of, has_usage
from ggufsurgeon.serving.openai_errors import (
    RequestRefusedError,
    add_error_handlers,
    check_key,
    error_body,
)
from ggufsurgeon.serving.service import Chunk, Service


def make_app(service: Service, api_key: str | None) -> FastAPI:
    """The application: OpenAI's routes under /v1, and /health."""
    app = FastAPI(title="ggufsurgeon", docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.api_key = api_key
    add_error_handlers(app)
    app.include_router(open_routes)
    app.include_router(routes)
    return app


def _check_key(request: Request, authorization: str | None = Header(default=None)) -> None:
    check_key(request.app.state.api_key, authorization)


open_routes = APIRouter()
routes = APIRouter(prefix="/v1", dependencies=[Depends(_check_key)])


@open_routes.get("/health")
async def health() -> dict[str, str]:
    """Whether the server runs. It needs no key, as in llama-server."""
    return {"status": "ok"}


@routes.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """The names that requests may give as their model."""
    listed = [
        {"id": name, "object": "model", "created": 0, "owned_by": "ggufsurgeon"}
        for name in request.app.state.service.paths
    ]
    return {"object": "list", "data": listed}


@routes.post("/chat/completions")
async def chat(request: Request, body: ChatBody) -> Any:
    """The next message of a conversation."""
    return await _respond(request, RequestKind.CHAT, body)


@routes.post("/completions")
async def complete(request: Request, body: CompletionBody) -> Any:
    """The continuation of one text."""
    return await _respond(request, RequestKind.COMPLETION, body)


@routes.post("/embeddings")
async def embed(request: Request, body: EmbeddingBody) -> Any:
    """The embedding of one text, or of each of several."""
    return await _respond(request, RequestKind.EMBEDDING, body)


async def _respond(request: Request, kind: RequestKind, body: Body) -> Any:
    service: Service = request.app.state.service
    name = _name(service, body.model)
    arguments = arguments_of(body) | {"model": name}
    if not arguments.get("stream"):
        return await service.answer(kind, name, arguments)
    chunks = service.stream(kind, name, arguments, has_usage(body))
    first = await _first(chunks)  # so that an error before it has a status of its own
    return StreamingResponse(_events(first, chunks), media_type="text/event-stream")


def _name(service: Service, asked: str | None) -> str:
    if asked is None:
        return next(iter(service.paths))
    if asked not in service.paths:
        names = ", ".join(service.paths)
        raise RequestRefusedError(
            404, f"no model has the name {asked}; the names are {names}", "model_not_found"
        )
    return asked


async def _first(chunks: AsyncIterator[Chunk]) -> Chunk | None:
    async for chunk in chunks:
        return chunk
    return None


async def _events(first: Chunk | None, chunks: AsyncIterator[Chunk]) -> AsyncIterator[str]:
    """Server-sent events, one for each chunk. An error ends them with an event of its own."""
    async with aclosing(chunks):  # type: ignore[type-var]
        try:
            if first is not None:
                yield _event(first)
            async for chunk in chunks:
                yield _event(chunk)
        except Exception as error:
            yield _event(error_body(error)[1])
            return
        yield "data: [DONE]\n\n"


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
