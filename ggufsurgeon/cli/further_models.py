"""What is said of models that are loaded beside a first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ggufsurgeon as gs
from ggufsurgeon.cli.terminal import n_bytes_text, print_note, print_warning

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices


def tell_further_models(model: Path, others: Sequence[Path], devices: Devices) -> None:
    """Say what the models take together, and how their vocabularies differ.

    Raises UsageError and MalformedFileError for files that cannot be read.
    """
    if not others:
        return
    from ggufsurgeon.engine.devices.system_memory import free_in_system
    from ggufsurgeon.rules.vocabularies import vocabulary_notes

    files = [gs.open(path).file for path in (model, *others)]
    distinct = {file.path.resolve(): file for file in files}
    n_bytes = sum(file.n_bytes for file in distinct.values())
    told = f"{len(distinct)} models are loaded side by side, {n_bytes_text(n_bytes)} together"
    runs_on_cpu = devices.n_gpu_layers == 0 or devices.names == ()
    if runs_on_cpu and n_bytes > (n_free := free_in_system()):
        print_warning(f"{told}, and {n_bytes_text(n_free)} of memory are free")
    else:
        print_note(told)
    for note in vocabulary_notes(files, 0):
        print_note(note)
