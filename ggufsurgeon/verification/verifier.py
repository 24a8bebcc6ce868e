"""Verification of a patched file: its structure first, then, if that holds, both models run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.codec import serialize_header
from ggufsurgeon.container.shards import without_split_keys
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import (
    EngineError,
    MalformedFileError,
    MissingExtraError,
    UsageError,
    VerificationError,
)
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.other_sources import SeveralSources, read_several
from ggufsurgeon.planning.provenance import read_provenance
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model
from ggufsurgeon.scoring.chunks import TextSettings
from ggufsurgeon.verification.checks import Check
from ggufsurgeon.verification.model_runs.runs import NOT_RUN, Runs, run_both
from ggufsurgeon.verification.structures.structure import (
    check_against_gguf_py,
    check_metadata,
    check_tensors,
)
from ggufsurgeon.verification.structures.structure_of_several import (
    Origins,
    check_metadata_of_several,
    check_tensors_of_several,
)

NATIVE_BYTE_ORDER = "<" if sys.byteorder == "little" else ">"


@dataclass(frozen=True)
class Verification:
    """The outcome for one patched file.

    >>> import tempfile
    >>> import ggufsurgeon as gs
    >>> source = "fixtures/stories260K.gguf"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
    ...     outcome = gs.verify(patched, source)
    >>> outcome.layer_path, [check.name for check in outcome.checks if check.ok is False]
    ('0..2,1..4', [])
    """

    patched: Path
    source: Path
    layer_path: str
    checks: tuple[Check, ...]
    runs: Runs = NOT_RUN
    others: tuple[Path, ...] = ()
    """The models 1, 2, ... of the layer path, if it is over several."""
    hindrance: MissingExtraError | EngineError | None = None
    """What kept a model from being run through no fault of its file."""

    @property
    def ok(self) -> bool | None:
        """Whether the file is proven: False where a check failed, None where nothing failed and
        the models were not run."""
        if any(check.ok is False for check in self.checks):
            return False
        was_run = self.hindrance is None and "runs" not in self.unproven
        return True if was_run else None

    @property
    def proven(self) -> tuple[str, ...]:
        """What holds, with counts: `335 tensors (112,091,904 bytes)`."""
        return tuple(check.proven for check in self.checks if check.ok and check.proven)

    @property
    def unproven(self) -> tuple[str, ...]:
        """The names of the checks that could not be made."""
        return tuple(check.name for check in self.checks if check.ok is None)

    def raise_if_failed(self) -> None:
        """Raise VerificationError where a check failed, else what kept a model from being run."""
        failed = [check.name for check in self.checks if check.ok is False]
        if "source" in failed:
            sources = [*map(str, (self.source, *self.others))]
            hint = "Name the file that it was made from as the source."
            if self.others:
                hint = "Name the files that it was made from, in the order of its layer path."
            raise VerificationError(
                f"{self.patched} was not made from {' and '.join(sources)}, so nothing is proven "
                "of it",
                hint=hint,
            )
        if "source runs" in failed:
            raise VerificationError(
                f"{self.source} does not run in llama.cpp, so nothing is proven about running",
                hint="The structure holds: the file is what its layer path makes of the source.",
            )
        if failed == ["recipe"]:
            raise VerificationError(
                f"{self.patched} is not the file of the recipe",
                hint="It is what the layer path in its own record makes of the source.",
            )
        if failed:
            raise VerificationError(
                f"{self.patched} does not hold what it claims: {', '.join(failed)}",
                hint=self._hint_of_failure(failed),
            )
        if self.hindrance is not None:
            raise self.hindrance

    def _hint_of_failure(self, failed: Sequence[str]) -> str:
        """What to do about failed checks: where tensors differ, the file may still be right."""
        again = "not use it; patch again, from a source that is known to be whole."
        if "tensors" not in failed:
            return f"Do {again}"
        another = ["another model"] + ["the models in another order"] * bool(self.others)
        another += ["another file of MTP blocks"] * any(c.name == "MTP blocks" for c in self.checks)
        return (
            f"The file may be right: {' or '.join(another)} can have the same header. Give what it "
            f"was made from. If you did, do {again}"
        )


def verify_patched(
    patched: GgufFile,
    sources: Sequence[GgufFile],
    settings: TextSettings | None,
    options: Devices,
    progress: Progress = NO_PROGRESS,
) -> Verification:
    """Prove that `patched` is what its layer path makes of `sources`, model 0 and then others.

    `settings` are of the perplexity of both, which is measured only with them. Raises UsageError
    when `patched` does not record its layer path, or was made from more or fewer models,
    MalformedFileError when that path does not fit `sources`, RefusedError when one of them all is
    no language model.
    """
    for file in (patched, *sources):
        check_is_language_model(file)
    source, *others = sources
    made_from, claimed = _claim(patched, source)
    several = read_several(patched.header) if made_from != patched.header_sha256 else None
    _check_number(patched, several, len(sources))
    paths = tuple(other.path for other in others)
    outcome = partial(Verification, patched.path, source.path, claimed, others=paths)
    wrong = _wrong_source(made_from, several, sources)
    if wrong:
        return outcome((Check("source", False, wrong),))
    path, outside = _path_over(claimed, patched, sources), several and several.outside
    if several is None:
        checks = list(_structure_checks(patched, source, path, made_from, progress))
    else:
        used = {n: file for n, file in enumerate(sources) if n in (0, *several.others)}
        origins = Origins(used, path, several.outside)
        if not origins.is_whole:
            raise MalformedFileError(
                str(patched.path), "its record names models that it does not identify"
            )
        checks = list(_structure_checks_of_several(patched, origins, progress))
    if any(check.ok is False for check in checks):
        return outcome((*checks, Check("runs", None, "not tried: the structure is wrong")))
    if source.header.byte_order != NATIVE_BYTE_ORDER:
        detail = "not tried: llama.cpp reads files of this machine's byte order alone"
        return outcome((*checks, Check("runs", None, detail)))
    try:
        runs = run_both(sources, patched, path, outside, settings, options, progress)
    except MissingExtraError as error:
        return outcome((*checks, Check("runs", None, str(error))), hindrance=error)
    return outcome((*checks, *runs.checks), runs, hindrance=runs.hindrance)


def _check_number(patched: GgufFile, several: SeveralSources | None, n_given: int) -> None:
    """Raise UsageError unless as many models are given as the file says."""
    n_expected = 1 + max(several.others, default=0) if several else 1
    if n_given != n_expected:
        models = "one model" if n_expected == 1 else f"{n_expected} models"
        verb = "is" if n_given == 1 else "are"
        raise UsageError(
            f"{patched.path} was made from {models}, and {n_given} {verb} given",
            hint="Give the files that it was made from, in the order of its layer path.",
        )


def _wrong_source(
    made_from: str, several: SeveralSources | None, sources: Sequence[GgufFile]
) -> str:
    """What tells that a file was made from others than these; empty if nothing does."""
    expected = {0: made_from}
    if several is not None:
        expected |= {n: other.header_sha256 for n, other in several.others.items()}
    for n, digest in expected.items():
        if digest not in (sources[n].header_sha256, _sha256_before_it_was_split(sources[n])):
            what = "another file" if len(sources) == 1 else f"another file than {sources[n].path}"
            return f"the patched file was made from {what}: the header's SHA-256 differs"
    return ""


def _claim(patched: GgufFile, source: GgufFile) -> tuple[str, str]:
    """The SHA-256 of the header that `patched` says it came from, and its layer path."""
    if patched.header_sha256 == source.header_sha256:
        return source.header_sha256, str(LayerPath.identity(len(find_blocks(source))))
    provenance = read_provenance(patched.header)
    if provenance is None:
        hint = ""
        if read_provenance(source.header) is not None:
            hint = f"{source.path} is a patched file: are the two swapped?"
        raise UsageError(
            f"{patched.path} does not say which layer path it has: ggufsurgeon did not write it",
            hint=hint,
        )
    return provenance.source_header_sha256, provenance.blocks


def _sha256_before_it_was_split(source: GgufFile) -> str:
    """The SHA-256 that the header had before llama-gguf-split split and merged the file."""
    return hashlib.sha256(serialize_header(without_split_keys(source.header))).hexdigest()


def _path_over(claimed: str, patched: GgufFile, sources: Sequence[GgufFile]) -> LayerPath:
    try:
        path = LayerPath(claimed)
        path.check_within(*(len(find_blocks(source)) for source in sources))
    except UsageError as error:
        problem = f"its recorded layer path does not fit {sources[0].path}: {error}"
        raise MalformedFileError(str(patched.path), problem) from None
    return path


def _structure_checks_of_several(
    patched: GgufFile, origins: Origins, progress: Progress
) -> Iterator[Check]:
    detail = "the headers of all models have the SHA-256 that the patched file names"
    yield Check("source", True, detail)
    yield check_metadata_of_several(patched, origins)
    yield check_tensors_of_several(patched, origins, progress)
    yield check_against_gguf_py(patched)


def _structure_checks(
    patched: GgufFile, source: GgufFile, path: LayerPath, made_from: str, progress: Progress
) -> Iterator[Check]:
    detail = "its header has the SHA-256 that the patched file names"
    if patched.header_sha256 == source.header_sha256:
        detail = "the headers are identical: a copy of the source"
    elif made_from != source.header_sha256:
        detail += ", without the split keys that llama-gguf-split added"
    yield Check("source", True, detail)
    yield check_metadata(patched, source, path)
    yield check_tensors(patched, source, path, progress)
    yield check_against_gguf_py(patched)
