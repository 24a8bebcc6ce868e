"""How much of a written file is new on the disk, and how much is shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.terminal import n_bytes_text, print_text
from ggufsurgeon.locating.model_name import shown_name

if TYPE_CHECKING:
    from ggufsurgeon.write_plan import Written

LEAST_TOLD_N_BYTES = 10_000_000
"""The smallest number of shared bytes that is printed."""


def written_as_json(written: Written | None) -> dict[str, Any]:
    """Bytes that were written, and bytes in blocks that are shared with the source."""
    assert written is not None
    return {
        "n_bytes_written": written.n_bytes_written,
        "n_bytes_shared": written.n_bytes_shared,
    }


def print_shared(written: Written | None, sources: Sequence[Path]) -> None:
    """Print how many bytes are shared with the sources, if there are many."""
    if written is None or written.n_bytes_shared < LEAST_TOLD_N_BYTES:
        return
    whole, shared = n_bytes_text(written.n_bytes), n_bytes_text(written.n_bytes_shared)
    new = n_bytes_text(written.n_bytes_written)
    told = f"of {whole}, {shared} are in disk blocks shared with "
    told += f"{' and '.join(map(shown_name, sources))}; {new} were written"
    print_text(told)
