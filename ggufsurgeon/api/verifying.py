"""Verification of a patched file against its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.planning.mtp_change.planning import source_with_mtp
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.scoring.chunks import TextSettings
    from ggufsurgeon.verification.verifier import Verification


def verify(
    patched: PathLike,
    source: PathLike,
    *,
    others: Sequence[PathLike] = (),
    mtp_from: PathLike | None = None,
    settings: TextSettings | None = None,
    devices: Devices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    `others` are the models 1, 2, ... of a path over several. `mtp_from` is the file that its MTP
    blocks were taken from, if they were; that they were left out, its record says. With `settings`
    the perplexity of the source and the patched file is measured as well, which takes far longer
    than all else. The outcome lists each check; its `raise_if_failed` raises VerificationError.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     gs.verify(patched, source).ok
    True
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.verification.mtp_blocks import check_mtp_blocks
    from ggufsurgeon.verification.verifier import verify_patched

    made = open_gguf(patched)
    sources = [open_gguf(path) for path in (source, *others)]
    donor = None if mtp_from is None else open_gguf(mtp_from)
    changed = source_with_mtp(made, sources[0], donor)
    if changed is None:
        return verify_patched(made, sources, settings, devices or Devices(), progress)
    of_mtp = check_mtp_blocks(changed, sources[0], donor)
    outcome = verify_patched(made, [changed], settings, devices or Devices(), progress)
    return replace(outcome, checks=(of_mtp, *outcome.checks))
