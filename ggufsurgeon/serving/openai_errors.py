"""Errors in the form of OpenAI's API: a status of HTTP, and an object under `error`."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import (
    AliasingUnavailableError,
    EngineError,
    GgufSurgeonError,
    RefusedError,
    UsageError,
)

INVALID, INTERNAL = "invalid_request_error", "internal_server_error"


class RequestRefusedError(Exception):
    """A request that is answered with an error before it reaches the model."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def error_body(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body for an error."""
    if isinstance(error, RequestRefusedError):
        return _made(error.status, str(error), error.code)
    if isinstance(error, RequestValidationError):
        return _made(400, _invalid_text(error.errors()[0]))
    if isinstance(error, HTTPException):
        return _made(error.status_code, str(error.detail))
    if isinstance(error, (UsageError, RefusedError)):
        is_long = "exceed context window" in str(error)
        return _made(400, _told(error), "context_length_exceeded" if is_long else None)
    if isinstance(error, AliasingUnavailableError):
        return _made(501, _told(error))
    if isinstance(error, EngineError):
        return _made(
            500, f"{_told(error)} Where the model is gone, it is loaded again for the next request."
        )
    return _made(500, _told(error) if isinstance(error, GgufSurgeonError) else "internal error")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the app in this form."""

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        status, body = error_body(error)
        return JSONResponse(body, status)

    told = (RequestRefusedError, RequestValidationError, HTTPException, GgufSurgeonError, Exception)
    for kind in told:
        app.add_exception_handler(kind, answer)


def check_key(expected: str | None, authorization: str | None) -> None:
    """Raise RequestRefusedError unless a bearer token equals the key, compared in constant time."""
    if expected is None:
        return
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), expected.encode()):
        raise RequestRefusedError(401, "the API key is missing or wrong", "invalid_api_key")


def _invalid_text(error: Mapping[str, Any]) -> str:
    """What is wrong with a body, of an error of pydantic."""
    if error["type"] == "json_invalid":
        return f"the body is not JSON: {error['ctx']['error']}, at character {error['loc'][1]}"
    where = ".".join(str(part) for part in error["loc"][1:])
    if not where:
        return "expected a JSON object, with the header Content-Type: application/json"
    return f"{where}: {error['msg']}"


def _told(error: GgufSurgeonError) -> str:
    return f"{error}. {error.hint}" if error.hint else f"{error}."


def _made(status: int, message: str, code: str | None = None) -> tuple[int, dict[str, Any]]:
    kind = INVALID if status < 500 else INTERNAL
    message = printable(message)  # clients show file names, which need not be UTF-8
    return status, {"error": {"message": message, "type": kind, "param": None, "code": code}}
