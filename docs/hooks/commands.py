"""The reference of the command line, in Markdown, from the commands themselves."""

from __future__ import annotations

import re
from enum import Enum
from itertools import groupby
from typing import Any

import typer

from ggufsurgeon.cli.app import make_app

OPTIONS = "Options"


def command_reference() -> str:
    """A section for each command: its help, its arguments, and its options by help panel."""
    group: Any = typer.main.get_command(make_app())
    return "\n\n".join(_section(name, command) for name, command in group.commands.items())


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([f"ggufsurgeon {name}", *map(_argument_name, arguments), "[OPTIONS]"])
    parts = [f"## {name}", _plain(command.help or ""), f"```text\n{usage}\n```"]
    if arguments:
        rows = [f"| `{_argument_name(a)}` | {_cell(a.help or '')} |" for a in arguments]
        parts.append("\n".join(["| argument | |", "|---|---|", *rows]))
    options.sort(key=_panel)
    for panel, members in groupby(options, key=_panel):
        rows = [f"| {_option_names(o)} | {_cell(o.help or '')}{_default(o)} |" for o in members]
        parts.append("\n".join([f"| {panel} | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _panel(option: Any) -> str:
    return getattr(option, "rich_help_panel", None) or OPTIONS


def _argument_name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper().strip("{}[]")


def _option_names(option: Any) -> str:
    value = "" if option.is_flag else f" {_metavar(option)}"
    names = [*option.opts, *option.secondary_opts]
    return ", ".join(f"`{name}`" for name in names[:-1]) + (
        (", " if len(names) > 1 else "") + f"`{names[-1]}{value}`"
    )


def _metavar(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    if isinstance(option.default, Enum):
        return r"\|".join(str(choice.value) for choice in type(option.default))
    return "N" if isinstance(option.default, (int, float)) else "VALUE"


def _default(option: Any) -> str:
    value = option.default
    if option.is_flag or value is None or not option.show_default or callable(value):
        return ""
    if isinstance(option.show_default, str):
        return f" Default: {_cell(option.show_default)}."
    return f" Default: `{getattr(value, 'value', value)}`."


def _plain(text: str) -> str:
    return re.sub(r"\s*\n(?!\n)\s*", " ", text.replace("\n\n", "\0")).replace("\0", "\n\n").strip()


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|").replace("<", "&lt;").strip()
