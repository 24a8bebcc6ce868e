"""Models besides the first: whether layer paths use them, and what is printed before loading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ggufsurgeon as gs
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_note, print_warning
from ggufsurgeon.container.quoting import shortened
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices


def check_all_used(others: Sequence[Path], paths: Iterable[AnyPath | None]) -> None:
    """Raise UsageError unless layer paths use each of the files that --with gives, and no more.

    The usual reason for a file that no path uses is a path that lacks its `1:`: it would be run or
    written without the blocks that were meant. A path that is no LayerPath is over MODEL alone.
    """
    whole = [path for path in paths if isinstance(path, LayerPath)]
    check_given(whole, len(others))
    used = {step.source for path in whole for step in path.steps}
    for number, other in enumerate(others, 1):
        if number not in used:
            raise UsageError(
                f"--with {other}: no layer path has a block of model {number}",
                hint=f"Its blocks are {number}:0, {number}:1 and so on, as in --layers "
                f'"0..6,{number}:4..11".',
            )


def check_given(paths: Iterable[AnyPath | None], n_others: int) -> None:
    """Raise UsageError for a path with blocks of a model that --with does not give."""
    for path in paths:
        if isinstance(path, LayerPath) and (last := max(s.source for s in path.steps)) > n_others:
            raise UsageError(
                f"layer path {shortened(str(path))}: there is no model {last}",
                hint="MODEL is model 0; --with FILE gives model 1, a second --with FILE model 2, "
                "and so on.",
            )


def tell_further_models(model: Path, others: Sequence[Path], devices: Devices) -> None:
    """Print what the models take together, and how their vocabularies differ.

    Raises UsageError and MalformedFileError for files that cannot be read.
    """
    if not others:
        return
    from ggufsurgeon.engine.devices.system_memory import free_in_system
    from ggufsurgeon.rules.mixtures.vocabularies import vocabulary_notes

    files = [gs.open(path).file for path in (model, *others)]
    distinct = {file.path.resolve(): file for file in files}
    n_bytes = sum(file.n_bytes for file in distinct.values())
    told = f"{len(distinct)} models are loaded side by side, {n_bytes_text(n_bytes)} together"
    runs_on_cpu = devices.n_gpu_layers == 0 or devices.names == ()
    if runs_on_cpu and n_bytes > (n_free := free_in_system()):
        print_warning(f"{told}, but only {n_bytes_text(n_free)} of memory is free")
    else:
        print_note(told)
    for note in vocabulary_notes(files, 0):
        print_note(note)
