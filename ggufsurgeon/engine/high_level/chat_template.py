"""Faults of chat templates, which come as errors of the template engine.

A file holds its template as Jinja source under `tokenizer.chat_template`; llama-cpp-python renders
it, or a format that it knows by name. Without either it would take the format of Llama 2 in
silence (llama_cpp/llama.py:562), whatever the model was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ggufsurgeon.errors import UsageError

HINT = "Choose a chat format by name: chatml is the one that most models know."
TEMPLATE_KEY = "tokenizer.chat_template"


@contextmanager
def template_errors_told(path: Path) -> Iterator[None]:
    """Turn an error in a template, or of its text about the conversation, into a UsageError."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as error:
        raise UsageError(
            f"the chat template of {path} cannot be used: {error.message or error}", hint=HINT
        ) from None


def check_has_template(llama: Any, path: Path, chat_format: str | None) -> None:
    """Raise UsageError for a format of an unknown name, and when there is no template at all."""
    from llama_cpp import llama_chat_format as formats

    if chat_format is None:
        if TEMPLATE_KEY not in llama.metadata:
            raise UsageError(f"{path} has no chat template", hint=HINT)
        return
    try:
        formats.get_chat_completion_handler(chat_format)
    except formats.LlamaChatCompletionHandlerNotFoundException as error:
        known = ", ".join(re.findall(r"'([^']+)'", str(error)))
        raise UsageError(
            f"no chat format has this name: {chat_format}", hint=f"The names are {known}."
        ) from None
