"""The anatomy of a loaded model: what its blocks do."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.anatomy.contents import DEFAULT_N_CONTENTS, draw_contents
from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.api.reports.scan_reports import scan_findings
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:  # numpy and llama_cpp cost time: only what runs a model imports them
    from ggufsurgeon.anatomy.findings import AnatomyFindings
    from ggufsurgeon.anatomy.pairs import PromptPair
    from ggufsurgeon.scanning.verdicts.findings import ScanFindings


class AnatomyMethods(ModelOverRunner):
    """The method of a loaded model that reads its residual stream."""

    def anatomy(
        self,
        *,
        store: PathLike | None = None,
        pairs: Sequence[PromptPair] | None = None,
        n_contents: int = DEFAULT_N_CONTENTS,
        seed: int = 0,
        progress: Progress = NO_PROGRESS,
    ) -> AnatomyFindings:
        """Measure what each block does: bands of similar contents, influence, logit lens, patching.

        The model reads `n_contents` sentences (4 to 24), drawn by `seed`, in seven forms each, and
        runs `pairs` of prompts (None: those of the package). `store` has a scan of this model, with
        whose windows the bands are compared. If it has no paths that drop single blocks, these are
        run on the sentences. Models that do not predict the next token (encoders) get similarity,
        bands, influence and norms only; `notes` says so. Raises UsageError for a model without a
        tokenizer, for contents that do not fit its context, and for a store without a scan of it,
        RefusedError for a file that is not a store, NotFiniteError for a model whose states are not
        finite numbers.

        >>> import ggufsurgeon as gs
        >>> with gs.load("fixtures/stories260K.gguf") as model:
        ...     found = model.anatomy(n_contents=6, pairs=())
        >>> len(found.blocks), found.lens[-1].median_rank
        (5, 1.0)
        """
        from ggufsurgeon.anatomy.anatomy import findings_of
        from ggufsurgeon.anatomy.pairs import own_pairs
        from ggufsurgeon.anatomy.reading.job import anatomy_job

        contents = draw_contents(n_contents, seed)
        chosen = own_pairs() if pairs is None else tuple(pairs)
        scan = None if store is None else self._scan_in(store)
        arguments = (self.path, self._devices, contents, chosen)
        readings = self._runner.run(anatomy_job, *arguments, progress=progress)
        notes = readings.notes
        is_from_store = scan is not None
        if readings.lens and (scan is None or not _has_single_drops(scan)):
            try:
                scan = _joined(scan, self._drop_each(readings.contents, progress))
            except RefusedError as error:
                notes = (*notes, f"Single blocks were not ablated: {error}.")
        architecture = str(self._file.header.architecture)
        return findings_of(
            dataclasses.replace(readings, notes=notes),
            self.path.name,
            architecture,
            scan,
            is_scan_from_store=is_from_store,
            seed=seed,
        )

    def _scan_in(self, store: PathLike) -> ScanFindings:
        """The scan of this model in a store. Raises UsageError if it has none."""
        all_found = scan_findings(store)
        for found in all_found:
            if found.header_sha256 == self._file.header_sha256:
                return found
        names = ", ".join(found.model for found in all_found)
        has = f"it has scans of {names} with other headers" if names else "it has no scan at all"
        raise UsageError(f"{store}: {has}, and none of {self.path}")

    def _drop_each(self, texts: Sequence[str], progress: Progress) -> ScanFindings | None:
        """Scan the paths that drop a single block, with the contents in English as items.

        The result is None for a model of one block. Raises RefusedError if no such path can be run.
        """
        from ggufsurgeon.anatomy.content_probe import ContentProbe
        from ggufsurgeon.scanning.scan import ScanTask, scan
        from ggufsurgeon.scanning.windows import WindowRange, drops

        n_blocks = find_blocks(self._file).n_trunk
        if n_blocks < 2:
            return None
        paths = tuple(one.path for one in drops(n_blocks, WindowRange(largest=1)))
        probe = ContentProbe(tuple(texts))
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "scan.db"
            task = ScanTask(self.path, self._devices, probe, paths)
            scan(task, store, self._runner, progress=progress)
            (found,) = scan_findings(store)
        return found


def _has_single_drops(scan: ScanFindings) -> bool:
    from ggufsurgeon.reporting.scan_findings.single_drops import single_drops

    return any(single_drops(probe.paths) for probe in scan.probes)


def _joined(scan: ScanFindings | None, other: ScanFindings | None) -> ScanFindings | None:
    if scan is None or other is None:
        return scan or other
    return dataclasses.replace(scan, probes=(*scan.probes, *other.probes))
