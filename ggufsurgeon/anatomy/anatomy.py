"""The findings of an anatomy, computed from readings and a scan. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ggufsurgeon.anatomy.bands import find_bands
from ggufsurgeon.anatomy.findings import AnatomyFindings, BlockFinding, LensFinding
from ggufsurgeon.anatomy.prediction import Prediction, predict_windows
from ggufsurgeon.anatomy.reading.block_figures import BlockFigures
from ggufsurgeon.anatomy.reading.job import Readings
from ggufsurgeon.anatomy.reading.lens import LensFigures
from ggufsurgeon.anatomy.similarity import GROUPS, Values, excess_of_contents, similarity
from ggufsurgeon.scanning.verdicts.findings import ScanFindings
from ggufsurgeon.statistics.estimate import mean_of


def findings_of(
    readings: Readings,
    model: str,
    architecture: str,
    scan: ScanFindings | None,
    *,
    is_scan_from_store: bool,
    seed: int,
) -> AnatomyFindings:
    """Compute the findings; `seed` draws the bootstraps and the null distributions."""
    curves = excess_of_contents(readings.cosines)[:, 1:]  # the first state is the input of block 0
    return AnatomyFindings(
        model=model,
        architecture=architecture,
        n_blocks=curves.shape[1],
        contents=readings.contents,
        input_norm=mean_of(readings.blocks.norms[:, 0].tolist()),
        blocks=_blocks(readings.blocks),
        similarity=similarity(readings.cosines, seed),
        bands=find_bands(curves, seed),
        bands_of_groups={
            group: find_bands(excess_of_contents(readings.cosines, group)[:, 1:], seed)
            for group in GROUPS
        },
        lens=_lens(readings.lens),
        pairs=readings.pairs,
        scan=scan,
        is_scan_from_store=is_scan_from_store,
        predictions=_predictions(curves, scan, seed) if is_scan_from_store else (),
        notes=readings.notes,
    )


def _blocks(figures: BlockFigures) -> tuple[BlockFinding, ...]:
    def means(values: Values) -> list[list[float]]:
        return [list(map(float, column)) for column in values.T]

    columns = zip(
        means(figures.influence), means(figures.norms[:, 1:]), means(figures.added), strict=True
    )
    return tuple(BlockFinding(*map(mean_of, of_block)) for of_block in columns)


def _lens(texts: Sequence[LensFigures]) -> tuple[LensFinding, ...]:
    if not texts:
        return ()
    ranks = np.concatenate([text.ranks for text in texts])
    probabilities = np.stack([np.exp(text.log_probs).mean(axis=0) for text in texts])
    return tuple(
        LensFinding(
            median_rank=float(np.median(ranks[:, block])),
            probability=mean_of(probabilities[:, block].tolist()),
            share_first=float((ranks[:, block] == 1).mean()),
        )
        for block in range(ranks.shape[1])
    )


def _predictions(curves: Values, scan: ScanFindings | None, seed: int) -> tuple[Prediction, ...]:
    probes = scan.probes if scan is not None else ()
    found = [predict_windows(curves, probe, seed) for probe in probes]
    return tuple(each for each in found if each is not None)
