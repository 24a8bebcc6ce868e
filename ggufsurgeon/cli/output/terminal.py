"""Output for people: tables on standard output, progress and errors on standard error.

All output passes through this module, which escapes strings that come from files: no character of
a name, a value or a generated text controls the terminal, and no name or value begins a line.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any

from ggufsurgeon.container.quoting import printable
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LONGEST_STEP = 24
"""Characters of a step's name: a line of progress fits 80 columns."""
PLAIN_WIDTH = 160
"""Most columns of a table in a pipe or a file; it takes those that its cells need."""
LONGEST_LINE = 8192
"""Largest number of characters of a line or a cell; a layer path of 512 blocks has fewer."""
UNBROKEN = 24
"""Characters of a column that no narrow terminal breaks: numbers stay whole, names need not."""
MOST_LAID_OUT = 2000
"""Rows of a table that is laid out, which takes a tenth of a millisecond for each."""
GAP = "   "
"""Space between the columns of a table."""


class OutputError(GgufSurgeonError):
    """A failure to write to standard output, other than a closed pipe."""

    exit_code = 5
    state = "What the command was to write is written; only the printed result is lost."


_is_amid_line = False


def print_text(text: str, end: str = "\n") -> None:
    """Print a line on standard output; line breaks at its end give empty lines."""
    line = text.rstrip("\n")
    _write(_harmless(line) + text[len(line) :] + end)


def _harmless(text: str) -> str:
    """The text as one line of limited length, with control characters escaped."""
    short = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."
    return printable(short)


def _write(text: str) -> None:
    """Write to standard output, which may be closed, full, an unread pipe, or ASCII."""
    global _is_amid_line
    if sys.stdout is None:
        return
    if text:
        _is_amid_line = not text.endswith("\n")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at its end, and must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        raise OutputError(f"the result cannot be printed: {error.strerror}") from None


def print_piece(text: str) -> None:
    """Print a piece of generated text at once, escaped except for line breaks and tabs."""
    _write("".join(c if c in "\n\t" else printable(c) for c in text))


_quiet = False


def be_quiet() -> None:
    """Show no notes and no progress from now on, as --quiet asks."""
    global _quiet
    _quiet = True


def print_note(message: str) -> None:
    """Print a note on standard error, unless --quiet was given."""
    if not _quiet:
        print(_harmless(message), file=sys.stderr)


SCHEMA = 1
"""The version of the JSON objects: it grows when a key changes its meaning or goes."""
LONGEST_INDENTED = 1_000_000
"""Largest number of characters, without spaces, of a JSON object that is indented."""


def print_json_line(value: dict[str, object]) -> None:
    """Print one JSON object in a line of its own, without a schema."""
    _write(json.dumps(value) + "\n")


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object with its schema; what JSON lacks (infinity, NaN) as strings.

    It is indented for people unless it is long: indenting takes ten times the time and memory.
    """
    numbered = {"schema": SCHEMA, **value}
    try:
        text = json.dumps(numbered, default=str, allow_nan=False)
    except ValueError:
        numbered = _finite(numbered)
        text = json.dumps(numbered, default=str, allow_nan=False)
    if len(text) <= LONGEST_INDENTED:
        text = json.dumps(numbered, indent=2, default=str, allow_nan=False)
    _write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return list(map(_finite, value)) if isinstance(value, (list, tuple)) else value


def print_error(message: str, state: str, hint: str) -> None:
    """Print what is wrong, the state of the files, and what to do next, on standard error.

    A hint may have several lines, so that strings of a file in it must be escaped already. If
    generated text stopped in the middle of a line, that line is ended first.
    """
    if _is_amid_line:
        with suppress(OutputError):
            print_text("")
    lines = [f"error: {message}", *(f"  {line}" for line in (state, *hint.split("\n")) if line)]
    print("\n".join(map(_harmless, lines)), file=sys.stderr)


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    print(f"warning: {_harmless(message)}", file=sys.stderr)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a title; the caller formats numbers.

    A table of very many rows is printed without a layout: a line for each row.
    """
    draw = _plain_lines if len(rows) > MOST_LAID_OUT else _laid_out
    lines = draw(columns, rows)
    _write("\n".join([_harmless(title), "", *lines, "", ""]))


def _plain_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each row. Columns begin at the same place where their cells are short."""
    for row in (columns, *rows):
        cells = [_harmless(cell).ljust(UNBROKEN) for cell in row]
        yield GAP.join(["", *cells]).rstrip()


def _laid_out(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table as wide as the terminal, drawn in memory: only `_write` knows what to
    do where the output takes no more."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heads = [Text(_harmless(name)) for name in columns]
    cells = [[Text(_harmless(cell)) for cell in row] for row in rows]
    table = Table(box=SIMPLE, show_header=any(columns), show_edge=False)
    needed = 0
    for head, *column in zip(heads, *cells, strict=True):
        longest = max(cell.cell_len for cell in (head, *column))
        table.add_column(head, overflow="fold", no_wrap=longest <= UNBROKEN)
        needed += len(GAP) + (longest if longest <= UNBROKEN else UNBROKEN // 2)
    for row in cells:
        table.add_row(*row)
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = max(Console().width if is_terminal else PLAIN_WIDTH, needed)
    drawn = StringIO()
    Console(file=drawn, width=width, force_terminal=is_terminal, highlight=False).print(table)
    return (line.rstrip() for line in drawn.getvalue().splitlines())


@contextmanager
def watched() -> Iterator[Progress]:
    """Show bars with rate and time left on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left {task.fields[note]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=_quiet or not console.is_terminal) as bars:
        yield _Watcher(bars)


class _Watcher:
    """A progress bar of the current step."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._unit = ""

    def begin(self, step: str, total: int, unit: str) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._unit = unit
        short = _harmless(step)[:LONGEST_STEP]
        self._task = self._bars.add_task(short, total=total, rate="", note="")

    def advance(self, n: int, note: str = "") -> None:
        if self._task is None:
            return
        self._bars.update(self._task, advance=n, note=_harmless(note))
        speed = self._bars.tasks[0].speed
        self._bars.update(self._task, rate=_rate(speed, self._unit) if speed else "")


def _rate(speed: float, unit: str) -> str:
    if unit == "bytes":
        return f"{n_bytes_text(speed)}/s"
    return f"{speed:.1f} {unit}/s" if speed > 1 else f"{1 / speed:.1f} s/{unit.rstrip('s')}"


def n_bytes_text(n_bytes: float) -> str:
    """A number of bytes in SI units, such as `1.63 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2f} {unit}"
    return f"{n_bytes:.0f} B"
