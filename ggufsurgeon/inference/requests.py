"""Requests in the form of OpenAI's API, answered by llama-cpp-python along a layer path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ggufsurgeon.aliasing.placement import Placement
from ggufsurgeon.engine.high_level.chat_template import check_has_template, template_errors_told
from ggufsurgeon.engine.high_level.native_options import as_native
from ggufsurgeon.errors import UsageError
from ggufsurgeon.inference.contexts import ContextKey, KeptContext, context_named
from ggufsurgeon.inference.messages import with_text_contents
from ggufsurgeon.workers.session import Reporter, Session


class RequestKind(Enum):
    """What is asked for. The value is the method of `llama_cpp.Llama` that answers."""

    CHAT = "create_chat_completion"
    COMPLETION = "create_completion"
    EMBEDDING = "create_embedding"


@dataclass(frozen=True)
class Request:
    """A request to one context of a session."""

    kind: RequestKind
    context: ContextKey
    name: str
    """The name of the context, which keeps what it has read of a conversation so far."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the method. With `stream` the answer is emitted in chunks."""
    has_usage: bool = False
    """Whether a last chunk of a stream counts its tokens, as OpenAI's `include_usage` asks."""


def prepare(
    session: Session, kind: RequestKind, key: ContextKey, name: str, _: Reporter
) -> tuple[Placement, ...]:
    """Make the context of later requests, and tell on which devices each position is.

    Raises UsageError if the model cannot take requests of this kind.
    """
    kept = context_named(session, name, key)
    _check_can_answer(kind, kept)
    return kept.placements()


def answer(session: Session, request: Request, reporter: Reporter) -> dict[str, Any] | None:
    """Answer a request: the response, or None after a stream of chunks, each emitted.

    Raises UsageError for a request that the model or llama-cpp-python cannot take.
    """
    name = request.name
    if request.context.has_embeddings:
        name += ", embeddings"
    kept = context_named(session, name, request.context)
    _check_can_answer(request.kind, kept)
    with template_errors_told(request.context.models.first), _bad_requests_told():
        method: Callable[..., Any] = getattr(kept.llama, request.kind.value)
        response = method(**_arguments(request, kept.llama))
        if not request.arguments.get("stream"):
            return dict(response)
        last: dict[str, Any] = {}
        for last in response:
            reporter.emit(last)
        if request.has_usage:
            reporter.emit({**last, "choices": [], "usage": _usage(kept.llama)})
    return None


def _arguments(request: Request, llama: Any) -> dict[str, Any]:
    arguments = as_native(llama, request.arguments)
    if request.kind is RequestKind.CHAT:
        arguments["messages"] = with_text_contents(arguments.get("messages", ()))
    return arguments


def _usage(llama: Any) -> dict[str, int]:
    counts = {"prompt_tokens": llama.n_prompt, "completion_tokens": llama.n_generated}
    return {**counts, "total_tokens": llama.n_prompt + llama.n_generated}


@contextmanager
def _bad_requests_told() -> Iterator[None]:
    """Turn what llama-cpp-python raises for arguments that it cannot take into a UsageError."""
    try:
        yield
    except UnicodeError:
        raise UsageError("the text is not Unicode: it has half of a surrogate pair") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    except (TypeError, LookupError, AttributeError, AssertionError) as error:
        kind = type(error).__name__
        raise UsageError(f"llama-cpp-python cannot take this request: {kind}: {error}") from error


def _check_can_answer(kind: RequestKind, kept: KeptContext) -> None:
    model, path = kept.model, kept.key.models.first
    if kind is RequestKind.EMBEDDING:
        header = model.file.header
        if not model.is_encoder and not header.get(f"{header.architecture}.pooling_type"):
            raise UsageError(f"{path} makes no embeddings: it predicts the next token")
        return
    if model.no_text:
        raise UsageError(f"{path} cannot continue a text: {model.no_text}")
    if kind is RequestKind.CHAT:
        with template_errors_told(path):
            check_has_template(kept.llama, path, kept.key.settings.chat_format)
