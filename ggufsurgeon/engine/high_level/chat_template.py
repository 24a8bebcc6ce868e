"""Chat templates: their prompts, and their failures as errors that name the file.

A file contains its template as Jinja source under `tokenizer.chat_template`; it is rendered in a
separate process. Without a template, and without the name of a format, llama-cpp-python would
silently use the format of Llama 2 (llama_cpp/llama.py:562), whatever the model was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ggufsurgeon.engine.context import Integers
from ggufsurgeon.engine.high_level.templates import (
    TEMPLATES,
    TemplateComplaintError,
    TemplateFaultError,
)
from ggufsurgeon.engine.model import Model
from ggufsurgeon.errors import UsageError

HINT = "Choose a chat format by name: chatml is the one that most models know."
TEMPLATE_KEY = "tokenizer.chat_template"
TODAY = datetime(2024, 7, 26)
"""The date that prompts tell: what a model answers must not change with the day. Templates of
Llama 3.1 tell it too where they are given none."""


@contextmanager
def template_errors_told(path: Path) -> Iterator[None]:
    """Turn a failure of a template, or an error that it raises itself, into a UsageError."""
    try:
        yield
    except TemplateComplaintError as error:
        text = f"the chat template of {path} refuses the conversation: {error}"
        raise UsageError(text, hint=HINT) from None
    except TemplateFaultError as error:
        text = f"the chat template of {path} cannot be used: {error}"
        raise UsageError(text, hint=HINT) from None


def check_has_template(llama: Any, path: Path, chat_format: str | None) -> None:
    """Raise UsageError for an unknown format, and when there is neither a format nor a template.

    Raises TemplateFaultError if the template of the file is used and cannot be compiled.
    """
    from llama_cpp import llama_chat_format as formats

    if chat_format is None:
        if TEMPLATE_KEY not in llama.metadata:
            raise UsageError(f"{path} has no chat template", hint=HINT)
        TEMPLATES.check(llama.metadata[TEMPLATE_KEY])
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
    template = model.file.header.get(TEMPLATE_KEY)
    if not isinstance(template, str):
        return None
    values = {
        "messages": [{"role": "user", "content": message}],
        "eos_token": model.name_of(model.eos),
        "bos_token": model.name_of(model.bos),
        "add_generation_prompt": True,
        "enable_thinking": False,
        **dict.fromkeys(("functions", "function_call", "tools", "tool_choice")),
    }
    with template_errors_told(model.path):
        rendered = TEMPLATES.render(template, values, TODAY.isoformat())
        try:
            text = rendered.encode()
        except UnicodeEncodeError:
            raise TemplateFaultError("it makes text that is not Unicode") from None
    return model.tokenize(text, is_rendered=True)
