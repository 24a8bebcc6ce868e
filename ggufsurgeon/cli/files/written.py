"""What became of a file that was written: its bytes on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.terminal import n_bytes_text, print_text, printable

if TYPE_CHECKING:
    from ggufsurgeon.write_plan import Written

LEAST_TOLD_N_BYTES = 10_000_000
"""Of what is shared: less is not worth a line."""


def written_as_json(written: Written | None) -> dict[str, Any]:
    """Bytes that were written, and bytes in blocks that are shared with the source."""
    assert written is not None
    return {
        "n_bytes_written": written.n_bytes_written,
        "n_bytes_shared": written.n_bytes_shared,
    }


def print_shared(written: Written | None, source: Path) -> None:
    """Tell what is shared with the source, if much is."""
    if written is None or written.n_bytes_shared < LEAST_TOLD_N_BYTES:
        return
    whole, shared = n_bytes_text(written.n_bytes), n_bytes_text(written.n_bytes_shared)
    new = n_bytes_text(written.n_bytes_written)
    told = f"of {whole}, {shared} are in disk blocks shared with {source}; {new} were written"
    print_text(printable(told))
