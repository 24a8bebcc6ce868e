"""What people see: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_WIDTH = 160
"""Columns where nobody looks at a terminal."""


def print_json(value: Any) -> None:
    """One JSON object; what JSON lacks (paths, say) as strings."""
    print(json.dumps(value, indent=2, default=str))


def print_error(message: str, state: str, hint: str) -> None:
    """What is wrong, what state the files are in, what to do next."""
    lines = [f"error: {message}", *(f"  {line}" for line in (state, hint) if line)]
    print("\n".join(printable(line) for line in lines), file=sys.stderr)


def printable(text: str) -> str:
    """Names in files are anybody's: escapes what is not UTF-8 or would drive the terminal."""
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in encodable)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with a title; numbers are for the caller to format."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_header=any(columns), show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    print(f"{printable(title)}\n", flush=True)
    Console(width=width, highlight=False).print(table, "")


@contextmanager
def watched() -> Iterator[Progress]:
    """Bars with rate and time left on standard error; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield _Watcher(bars)


class _Watcher:
    """One bar a step."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._unit = ""

    def begin(self, step: str, total: int, unit: str) -> None:
        self._unit = unit
        self._task = self._bars.add_task(printable(step), total=total, rate="", note="")

    def advance(self, n: int, note: str = "") -> None:
        if self._task is None:
            return
        speed = self._bars.tasks[self._task].speed or 0
        self._bars.update(self._task, advance=n, rate=_rate(speed, self._unit), note=note)


def _rate(speed: float, unit: str) -> str:
    return f"{n_bytes_text(speed)}/s" if unit == "bytes" else f"{speed:.2f} {unit}/s"


def n_bytes_text(n_bytes: float) -> str:
    """`1.63 GB`; SI units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes:.0f} B"
