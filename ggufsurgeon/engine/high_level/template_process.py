"""The program that renders chat templates: requests and answers are lines of JSON.

A template is a program from an untrusted file. It runs in jinja2's sandbox, which blocks unsafe
attributes, but limits neither time nor memory: `10 ** 10 ** 10` and `'a' * 10 ** 10` are allowed
there, and constants are computed when a template is compiled. Therefore this process has limits on
memory and processor time and cannot open files or connections after its start, and its caller kills
it when an answer takes too long. It does not import llama.cpp.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, Template, TemplateError, TemplateNotFound
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

READY = "ready"
MOST_MEMORY = 1 << 30
"""Bytes of address space."""
SPARE_SECONDS = 2
"""Processor time beyond the time that the caller waits. It ends a process whose caller has died."""
FEWEST_CHARACTERS = 1 << 20
TIMES_LONGER = 4
"""A prompt has at most FEWEST_CHARACTERS, plus TIMES_LONGER times those of its request."""
LONGEST_PROBLEM = 300
FIRST = (
    "{{ 'a.b' | urlize }}{{ '<b>' | striptags }}{{ 'a' | pprint }}{{ 'a b' | wordwrap(1) }}"
    "{{ [1] | random }}{{ lipsum(1) }}{{ strftime_now('%Z') }}{{ '\\N{SPACE}' }}"
    "{{ raise_exception('') }}"
)
"""A template that uses all modules that jinja2 imports late: later no files can be opened."""


class ComplaintError(Exception):
    """An error that a template raises itself about a conversation (`raise_exception`)."""


class GenerationTags(Extension):
    """`{% generation %}`, which marks text for training in Hugging Face. Its content is kept."""

    tags = {"generation"}  # noqa: RUF012 - the interface of jinja2

    def parse(self, parser: Parser) -> list[Node]:
        """The content of the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a request, or the problem, and whether the template itself raised it.

    A request without values asks only whether the template can be compiled.
    """
    try:
        template = _compiled(request["template"])
        values = request.get("values")
        prompt = "" if values is None else _render(template, values, request.get("today"))
    except ComplaintError as error:
        return {"problem": _short(str(error)), "complains": True}
    except MemoryError:
        return {"problem": f"it takes more than {MOST_MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"problem": "it recurses without end, or is nested too deeply"}
    except TemplateNotFound as error:
        return {"problem": _short(f"it includes another file, {error}")}
    except Exception as error:  # a template can raise any
        kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
        return {"problem": _short(f"{kind}{error}")}
    most = FEWEST_CHARACTERS + TIMES_LONGER * len(json.dumps(request))
    if len(prompt) > most:
        return {"problem": f"it makes a prompt of {len(prompt):,} characters"}
    return {"prompt": prompt}


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    """As transformers and llama-cpp-python compile chat templates."""
    environment = ImmutableSandboxedEnvironment(
        loader=BaseLoader(),
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationTags, loopcontrols],
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(source)


def _render(template: Template, values: dict[str, Any], today: str | None) -> str:
    functions = {"raise_exception": _complain, "strftime_now": _clock(today)}
    return template.render(**{**values, **functions})


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the escapes for HTML that jinja2's own filter has."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _complain(message: object) -> None:
    raise ComplaintError(message)


def _clock(today: str | None) -> Callable[[str], str]:
    return (datetime.fromisoformat(today) if today else datetime.now()).strftime


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_PROBLEM else f"{text[:LONGEST_PROBLEM]}..."


def _limit_process() -> None:
    """Set the limits that hold for the life of the process."""
    _limit("RLIMIT_AS", MOST_MEMORY)
    for kind in ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
        _limit(kind, 0)


def _limit_time(seconds: int) -> None:
    """Let the system kill the process after this much more processor time."""
    _limit("RLIMIT_CPU", int(time.process_time()) + seconds + SPARE_SECONDS, can_grow=True)


def _limit(kind: str, most: int, *, can_grow: bool = False) -> None:
    """Set a limit, or keep a lower one. Without such limits, only the caller's timeout applies."""
    with suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        number = getattr(resource, kind)
        _, hard = resource.getrlimit(number)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (lower, hard if can_grow else lower))


def main() -> None:
    """Answer requests until there are no more. The argument is the caller's limit in seconds."""
    seconds = int(sys.argv[1])
    answer({"template": FIRST, "values": {}})
    _limit_process()
    print(READY, flush=True)
    for line in sys.stdin:
        _limit_time(seconds)
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
