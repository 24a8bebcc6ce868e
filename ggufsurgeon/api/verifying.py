"""Verification of a patched file against its source."""

from __future__ import annotations

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
    mtp_from: PathLike | None = None,
    settings: TextSettings | None = None,
    devices: Devices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is exactly what its layer path makes of `source`.

    `mtp_from` is the file that its MTP blocks were taken from, if they were; that they were left
    out, its record says. With `settings` the perplexity of both is measured as well, which takes
    far longer than all else. The outcome lists each check; its `raise_if_failed` raises
    VerificationError.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     gs.verify(patched, source).ok
    True
    """
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.verification.verifier import verify_patched

    made, original = open_gguf(patched), open_gguf(source)
    donor = None if mtp_from is None else open_gguf(mtp_from)
    original = source_with_mtp(made, original, donor) or original
    return verify_patched(made, original, settings, devices or Devices(), progress)
