"""The chat template of a file, as a function from conversations to prompts; no model is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.engine.high_level.chat_template import (
    TEMPLATE_KEY,
    TODAY,
    rendered_chat,
    template_errors_told,
)
from ggufsurgeon.engine.high_level.templates import TEMPLATES, TemplateFaultError
from ggufsurgeon.errors import UsageError

WITHOUT = "Ask its questions as plain text, without a template."
Messages = Sequence[Mapping[str, Any]]


class ChatRenderer:
    """Renders conversations as transformers' `apply_chat_template` does. Made by `chat_renderer`.

    A template that fails is tried again without the messages of the system, as lm-eval does
    (`HFLM.apply_chat_template`, lm_eval/models/huggingface.py).
    """

    def __init__(self, path: Path, template: str, values: Mapping[str, Any]) -> None:
        """`values` are variables of the template, which JSON can represent."""
        self._path = path
        self._template = template
        self._values = dict(values)
        self.leaves_out_system = False
        """Whether messages of the system were left out of a prompt."""

    def __call__(self, messages: Messages, add_generation_prompt: bool = True) -> str:
        """The prompt of a conversation.

        It ends where the answer begins, or without `add_generation_prompt` behind the content of
        the last message, which the answer then continues. Raises UsageError for a template that
        fails, and for one that leaves a last message to be continued out.
        """
        with template_errors_told(self._path, WITHOUT):
            try:
                return self._render(messages, add_generation_prompt)
            except TemplateFaultError:
                others = [one for one in messages if one.get("role") != "system"]
                if len(others) in (0, len(messages)):
                    raise
                rendered = self._render(others, add_generation_prompt)
                self.leaves_out_system = True
                return rendered

    @property
    def sha256(self) -> str:
        """SHA-256 of all that a prompt depends on besides the conversation, in hex."""
        content = [self._template, self._values, TODAY.isoformat()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _render(self, messages: Messages, add_generation_prompt: bool) -> str:
        rendered = rendered_chat(
            self._template,
            messages,
            self._values,
            add_generation_prompt=add_generation_prompt,
        )
        return rendered if add_generation_prompt else _open_ended(rendered, messages[-1])


def chat_renderer(file: GgufFile, variables: Mapping[str, Any] | None = None) -> ChatRenderer:
    """A renderer of the file's template; `variables` are set in it, such as `enable_thinking`.

    Raises UsageError for a file without a template, for a template that cannot be compiled, and for
    variables that JSON cannot represent.
    """
    template = file.header.get(TEMPLATE_KEY)
    if not isinstance(template, str):
        raise UsageError(
            f"{file.path} has no chat template",
            hint=WITHOUT,
        )
    values = {"bos_token": _name(file, "bos"), "eos_token": _name(file, "eos"), **(variables or {})}
    try:
        json.dumps(values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a variable of the chat template is no JSON value: {error}") from None
    with template_errors_told(file.path, WITHOUT):
        TEMPLATES.check(template)
    return ChatRenderer(file.path, template, values)


def _name(file: GgufFile, which: str) -> str:
    """The text of BOS or EOS in the vocabulary of a file; empty where it names none."""
    token = file.header.get(f"tokenizer.ggml.{which}_token_id")
    names = file.header.get("tokenizer.ggml.tokens")
    if not isinstance(token, int) or not isinstance(names, list) or token >= len(names):
        return ""
    return str(names[token])


def _open_ended(rendered: str, last: Mapping[str, Any]) -> str:
    """A prompt up to the end of the content of its last message.

    As `continue_final_message` of transformers (`apply_chat_template`): white space at the end of
    the content stays where the template keeps it.
    """
    content = str(last.get("content") or "")
    text = content.strip()
    at = rendered.rfind(text)
    if at < 0:
        raise TemplateFaultError("it leaves out the last message, which the answer continues")
    end = at + len(text)
    space = content[len(content.rstrip()) :]
    return rendered[: end + len(space) if rendered[end:].startswith(space) else end]
