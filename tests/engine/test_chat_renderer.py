"""Chat templates as functions from conversations to prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.high_level.chat_renderer import WITHOUT, ChatRenderer, chat_renderer
from ggufsurgeon.errors import UsageError
from tests.models.builders import with_text

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think></think>{% endif %}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
)
SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hi"}
Made = Callable[..., ChatRenderer]


@pytest.fixture
def renderer(stories: Path, write: Callable[[bytes, str], Path]) -> Made:
    """The renderer of a file with a template."""

    def make(template: str, **variables: object) -> ChatRenderer:
        content = with_text(stories.read_bytes(), "tokenizer.chat_template", template)
        return chat_renderer(open_gguf(write(content, "chat.gguf")), variables)

    return make


def test_a_conversation_is_rendered(renderer: Made) -> None:
    found = renderer(CHATML)([SYSTEM, USER]).rstrip(" ")
    assert found == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_variables_are_set(renderer: Made) -> None:
    thinking, silent = (renderer(CHATML, enable_thinking=on) for on in (True, False))
    assert silent([USER]).replace("<think></think>", "") == thinking([USER]) != silent([USER])
    assert thinking.sha256 != silent.sha256 == renderer(CHATML, enable_thinking=False).sha256
    assert silent.sha256 != renderer(NO_SYSTEM, enable_thinking=False).sha256


def test_special_tokens_are_those_of_the_file(renderer: Made) -> None:
    assert renderer("{{ bos_token }}|{{ eos_token }}|")([USER]).rstrip() == "<s>|</s>|"


@pytest.mark.parametrize("answer", ["Yes, ", "Yes", " Yes\n"])
def test_a_last_message_is_continued(renderer: Made, answer: str) -> None:
    """White space at its end stays, as the template keeps it."""
    messages = [USER, {"role": "assistant", "content": answer}]
    found = renderer(CHATML)(messages, add_generation_prompt=False)
    assert found == f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{answer}"
    trimming = CHATML.replace("m.content", "m.content | trim")
    found = renderer(trimming)(messages, add_generation_prompt=False)
    assert found.endswith("assistant\n" + answer.strip())


def test_a_template_without_a_system_role_gets_none(renderer: Made) -> None:
    refusing = renderer(NO_SYSTEM)
    assert refusing([USER]) and not refusing.leaves_out_system
    assert refusing([SYSTEM, USER]) == refusing([USER])
    assert refusing.leaves_out_system


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('not today') }}", "refuses the conversation: not today"),
        ("{{ 1 // 0 }}", "cannot be used"),
        ("{{ '\\ud800' }}", "cannot be used"),
    ],
)
def test_templates_that_fail_are_errors(renderer: Made, template: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        renderer(template)([SYSTEM, USER])
    assert caught.value.hint == WITHOUT, "no format can be named in place of the template"


def test_what_cannot_be_a_renderer_is_refused(renderer: Made, stories: Path) -> None:
    with pytest.raises(UsageError, match="has no chat template"):
        chat_renderer(open_gguf(stories))
    with pytest.raises(UsageError, match="cannot be used") as caught:
        renderer("{% if %}")
    assert caught.value.hint == WITHOUT
    with pytest.raises(UsageError, match="no JSON value"):
        renderer(CHATML, thing=object())
    with pytest.raises(UsageError, match="leaves out the last message"):
        renderer("nothing")([USER], add_generation_prompt=False)


def test_the_template_of_a_real_file(smollm2: Path) -> None:
    found = chat_renderer(open_gguf(smollm2))([USER])
    assert found.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
