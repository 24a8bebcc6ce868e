"""Untrusted chat templates: they are isolated, limited in time, and rendered as elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from llama_cpp import llama_chat_format as formats

from ggufsurgeon.engine.high_level.llama_classes import IsolatedFormatter
from ggufsurgeon.engine.high_level.templates import (
    SECONDS,
    TEMPLATES,
    TemplateComplaintError,
    TemplateFaultError,
    TemplateProcess,
)
from tests.conftest import ROOT

MESSAGES = [
    {"role": "user", "content": "Hello <b> & é"},
    {"role": "assistant", "content": "x", "tool_calls": [{"name": "f", "arguments": {"b": 1}}]},
    {"role": "user", "content": "\N{GRINNING FACE}\ud800"},
]
VALUES = {"messages": MESSAGES, "eos_token": "</s>", "bos_token": "<s>"}
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
CODES = "\x1b]52;c;YQ==\x07"


@pytest.fixture
def process() -> Iterator[TemplateProcess]:
    made = TemplateProcess()
    yield made
    made.close()


SOUND = {
    "chatml": formats.CHATML_CHAT_TEMPLATE,
    "mistral": formats.MISTRAL_INSTRUCT_CHAT_TEMPLATE,
    "mixtral": formats.MIXTRAL_INSTRUCT_CHAT_TEMPLATE,
    "llama-3": formats.LLAMA3_INSTRUCT_CHAT_TEMPLATE,
    "json": "{{ messages | tojson }}{{ tools | tojson(indent=2) }}",
    "tags": "{% generation %}a{% endgeneration %}{% for m in messages %}{% break %}{% endfor %}",
    "blocks": "{% if tools %}\n  x\n{% endif %}\n  {%- if add_generation_prompt %} y{% endif %}\n",
    "late imports": "{{ 'a b' | wordwrap(1) }}{{ messages | pprint }}{{ 'a.b' | urlize }}",
    "escapes": r"{{ '\u00e9\n\N{DIGIT ONE}' }}{{ 'a' | upper | title | indent(3) | escape }}",
    "today": "{{ strftime_now('%d %b %Y') }}",
    "namespace": "{% set n = namespace(a=1) %}{% for m in messages %}{% set n.a = n.a + 1 %}"
    "{% endfor %}{{ n.a }}{{ messages | map(attribute='role') | join(',') }}",
}


@pytest.mark.parametrize("template", SOUND.values(), ids=SOUND)
def test_prompts_are_those_of_llama_cpp_python(template: str) -> None:
    options = {"eos_token": "</s>", "bos_token": "<s>", "stop_token_ids": [2]}
    asked = {"messages": MESSAGES, "tools": [{"type": "function"}], "enable_thinking": False}
    ours = IsolatedFormatter(template=template, **options)(**asked)
    theirs = formats.Jinja2ChatFormatter(template=template, **options)(**asked)
    assert (ours.prompt, ours.stop, ours.added_special) == (theirs.prompt, ["</s>"], True)
    for last in (1, 2):
        assert bool(ours.stopping_criteria([last], None)) == (last == 2)


def test_the_date_can_be_given() -> None:
    today = datetime(2024, 7, 26)
    assert TEMPLATES.render("{{ strftime_now('%d %b %Y') }}", VALUES, today.isoformat()) == (
        "26 Jul 2024"
    )


REACHING_OUT = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ '{0.__class__.__mro__}'.format(1) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ (raise_exception | attr('__globals__'))['sys'] }}",
    "{{ strftime_now.__self__.__class__() }}",
    "{{ (messages | map(attribute='__class__') | list)[0]() }}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% extends '/etc/passwd' %}",
    "{{ messages.append(1) }}",
]


@pytest.mark.parametrize("template", REACHING_OUT)
def test_nothing_is_reached_from_a_template(template: str) -> None:
    with pytest.raises(TemplateFaultError):
        TEMPLATES.render(template, VALUES)


WASTEFUL = {
    "{% for i in range(10**9) %}{% endfor %}": "MAX_RANGE",
    "{{ 'a' * 10**10 }}": "memory",
    "{{ '%9999999999d' % 1 }}": "memory",
    "{{ 'a' | center(10**10) }}": "memory",
    "{% set n = namespace(a='x') %}{% for i in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}": (
        "memory"
    ),
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "it recurses",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}": "nested too deep",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000: "nested too deep",
    "{{ 'x' * 2000000 }}": "a prompt of 2,000,000 characters",
    "{{ 1 + 'a' }}": "TypeError",
    "{% if %}": "Expected an expression",
}


@pytest.mark.parametrize(("template", "says"), WASTEFUL.items(), ids=range(len(WASTEFUL)))
def test_what_a_template_wastes_is_bounded(template: str, says: str) -> None:
    with pytest.raises(TemplateFaultError, match=says) as caught:
        TEMPLATES.render(template, VALUES)
    assert len(str(caught.value)) < 400


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [ENDLESS, "{{ 10 ** (10 ** 10) }}", "{{ lipsum(n=10**7) }}"],
    ids=["loops", "constant", "words"],
)
def test_what_takes_too_long_is_ended(process: TemplateProcess, template: str) -> None:
    """Also by its constants, which are computed when it is compiled."""
    began = time.monotonic()
    with pytest.raises(TemplateFaultError, match=f"longer than {SECONDS} seconds"):
        process.render(template, VALUES)
    assert time.monotonic() - began < SECONDS + 5
    assert process.render("{{ bos_token }}", VALUES) == "<s>"


def test_a_complaint_is_short_and_told_apart() -> None:
    with pytest.raises(TemplateComplaintError) as caught:
        TEMPLATES.render("{{ raise_exception('" + CODES + "' * 1000) }}", VALUES)
    assert len(str(caught.value)) < 400


LIMITS = """
import os, socket
from ggufsurgeon.engine.high_level import template_process as it
it._limit_process()
for attempt in (
    lambda: open("/etc/passwd"),
    lambda: open("made", "w"),
    lambda: socket.socket(),
    lambda: os.pipe(),
    lambda: bytearray(2 * it.MOST_MEMORY),
):
    try:
        attempt()
        print("possible")
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
"""


def test_the_process_can_open_nothing(tmp_path: Path) -> None:
    """What is left to a template that would find a way out of the sandbox."""
    command = [sys.executable, "-c", LIMITS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert done.stdout.split() == ["OSError"] * 4 + ["MemoryError"]


ALONE = f"""
import os, sys
from ggufsurgeon.engine.high_level.templates import TEMPLATES
TEMPLATES.check("")
print(TEMPLATES._process.pid, flush=True)
TEMPLATES.check({"{{ 10 ** (10 ** 10) }}"!r})
"""


@pytest.mark.slow
def test_no_process_stays_behind_a_caller_that_is_killed() -> None:
    command = [sys.executable, "-c", ALONE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        time.sleep(1)
        caller.send_signal(signal.SIGKILL)
    end = time.monotonic() + 4 * SECONDS
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether a process runs and is not a zombie, which remains if nothing waits for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
