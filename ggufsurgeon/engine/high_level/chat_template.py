"""Chat templates: their prompts, and their faults, which come as errors of the template engine.

A file holds its template as Jinja source under `tokenizer.chat_template`; llama-cpp-python renders
it, or a format that it knows by name. Without either it would take the format of Llama 2 in
silence (llama_cpp/llama.py:562), whatever the model was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.library import llama_cpp
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError

HINT = "Choose a chat format by name: chatml is the one that most models know."
TEMPLATE_KEY = "tokenizer.chat_template"
TODAY = datetime(2024, 7, 26)
"""The date that prompts tell: what a model answers must not change with the day. Templates of
Llama 3.1 tell it too where they are given none."""


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


def chat_prompt(model: Model, message: str) -> Integers | None:
    """The tokens of a first message of the user by the template of the file, int32 [n_tokens].

    Thinking is switched off where the template can. None for a file without a template; raises
    UsageError for one that cannot be used.
    """
    llama_cpp()
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    template = model.file.header.get(TEMPLATE_KEY)
    if not isinstance(template, str):
        return None
    messages = [{"role": "user", "content": message}]
    with template_errors_told(model.path):
        try:
            formatter = Jinja2ChatFormatter(
                template, model.name_of(model.eos), model.name_of(model.bos)
            )
            formatter.strftime_now = TODAY.strftime
            rendered = formatter(messages=messages, enable_thinking=False).prompt
        except (ValueError, TypeError) as error:  # ValueError: the template's own complaint
            text = f"the chat template of {model.path} cannot be used: {error}"
            raise UsageError(text) from None
    return model.tokenize(rendered.encode(), is_rendered=True)
