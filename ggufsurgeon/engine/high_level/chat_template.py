"""Chat templates: their prompts, and their failures as errors that name the file.

A file contains its template as Jinja source under `tokenizer.chat_template`; it is rendered in a
separate process. Without a template, and without the name of a format, llama-cpp-python would
silently use the format of Llama 2 (llama_cpp/llama.py:562), whatever the model was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
def template_errors_told(path: Path, hint: str = HINT) -> Iterator[None]:
    """Turn a failure of a template, or an error that it raises itself, into a UsageError.

    `hint` says what to do without this template, by itself for those who can name a chat format.
    """
    try:
        yield
    except TemplateComplaintError as error:
        text = f"the chat template of {path} refuses the conversation: {error}"
        raise UsageError(text, hint=hint) from None
    except TemplateFaultError as error:
        text = f"the chat template of {path} cannot be used: {error}"
        raise UsageError(text, hint=hint) from None


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
    names = {"eos_token": model.name_of(model.eos), "bos_token": model.name_of(model.bos)}
    message_of_user = {"role": "user", "content": message}
    with template_errors_told(model.path):
        values = {**names, "enable_thinking": False}
        text = rendered_chat(template, [message_of_user], values, add_generation_prompt=True)
    return model.tokenize(text.encode(), is_rendered=True)


def rendered_chat(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    *,
    add_generation_prompt: bool,
) -> str:
    """The prompt of a conversation by a template; `values` are its other variables.

    Raises TemplateFaultError for one that fails, also where it makes text that is not Unicode.
    """
    every = {
        **dict.fromkeys(("functions", "function_call", "tools", "tool_choice")),
        **values,
        "messages": list(messages),
        "add_generation_prompt": add_generation_prompt,
    }
    rendered = TEMPLATES.render(template, every, TODAY.isoformat())
    try:
        rendered.encode()
    except UnicodeEncodeError:
        raise TemplateFaultError("it makes text that is not Unicode") from None
    return rendered
