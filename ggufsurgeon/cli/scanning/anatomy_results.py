"""The table and the JSON of an anatomy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.serializers import estimate_as_json
from ggufsurgeon.cli.output.terminal import print_table, print_text
from ggufsurgeon.cli.scanning.scan_results import findings_as_json
from ggufsurgeon.reporting.anatomy_page.words import pair_text, verdicts
from ggufsurgeon.reporting.lettering import MINUS, counted
from ggufsurgeon.reporting.scan_findings.single_drops import single_drops

if TYPE_CHECKING:
    from ggufsurgeon.anatomy.bands import Bands
    from ggufsurgeon.anatomy.findings import AnatomyFindings, BlockFinding, LensFinding
    from ggufsurgeon.anatomy.pairs import PairReading
    from ggufsurgeon.anatomy.prediction import Prediction
    from ggufsurgeon.anatomy.similarity import Curve, Similarity

COLUMNS = ("block", "band", "same", "shuffled", "influence", "norm", "adds")
OF_LENS = ("rank", "probability")
ENCODING, MIDDLE, DECODING = "encoding", "middle", "decoding"


def print_anatomy(found: AnatomyFindings) -> None:
    """Print a row for each block, the pairs, and the verdicts."""
    drops = _drops(found)
    columns = (*COLUMNS, *(OF_LENS if found.lens else ()), *drops)
    rows = [_row(found, block, drops) for block in range(found.n_blocks)]
    n_contents = counted(len(found.contents), "content")
    print_table(f"{found.model}, {found.architecture}, read with {n_contents}", columns, rows)
    if found.pairs:
        print_text("Activation patching:")
    for reading in found.pairs:
        prompt, answer = reading.pair.clean, reading.pair.answer.strip()
        print_text(f"  {prompt} ({answer}): {_plain(pair_text(reading))}")
    for text in (*found.notes, *verdicts(found)):
        print_text(_plain(text))


def _plain(text: str) -> str:
    """The text with ASCII hyphens as minus signs, as in other tables of the terminal."""
    return text.replace(MINUS, "-")


def _drops(found: AnatomyFindings) -> dict[str, dict[int, str]]:
    """The effect of dropping each block: by the column of the probe, then by block."""
    probes = found.scan.probes if found.scan is not None else ()
    columns = {
        f"dropped, {probe.probe}": {
            drop.block: f"{drop.found.value:+.3f}" for drop in single_drops(probe.paths)
        }
        for probe in probes
        if not probe.is_joint
    }
    return {name: column for name, column in columns.items() if column}


def _row(
    found: AnatomyFindings, block: int, drops: Mapping[str, Mapping[int, str]]
) -> tuple[str, ...]:
    one, similar = found.blocks[block], found.similarity
    figures = [
        str(block),
        _band(found.bands, block),
        f"{similar.same.values[block + 1]:+.3f}",
        f"{similar.shuffled.values[block + 1]:+.3f}",
        f"{one.influence.value:.4f}",
        f"{one.norm.value:.4g}",
        f"{one.added.value:.4g}",
    ]
    if found.lens:
        lens = found.lens[block]
        figures += [f"{lens.median_rank:g}", f"{lens.probability.value:.3f}"]
    return (*figures, *(column.get(block, "-") for column in drops.values()))


def _band(bands: Bands | None, block: int) -> str:
    if bands is None or not bands.is_found:
        return "-"
    return ENCODING if block < bands.first else MIDDLE if block < bands.end else DECODING


def anatomy_as_json(found: AnatomyFindings) -> dict[str, Any]:
    """All findings as JSON; those of a scan have the format of `report`."""
    return {
        "model": found.model,
        "architecture": found.architecture,
        "n_blocks": found.n_blocks,
        "contents": list(found.contents),
        "similarity": _similarity(found.similarity),
        "bands": None if found.bands is None else _bands(found.bands),
        "bands_of_groups": {
            name: None if bands is None else _bands(bands)
            for name, bands in found.bands_of_groups.items()
        },
        "input_norm": estimate_as_json(found.input_norm),
        "blocks": [{"block": n, **_block(one)} for n, one in enumerate(found.blocks)],
        "lens": [{"block": n, **_lens(one)} for n, one in enumerate(found.lens)],
        "patching": [_pair(reading) for reading in found.pairs],
        "predictions": [_prediction(one) for one in found.predictions],
        "scan": None if found.scan is None else findings_as_json(found.scan),
        "is_scan_from_store": found.is_scan_from_store,
        "notes": list(found.notes),
        "verdicts": verdicts(found),
    }


def _similarity(found: Similarity) -> dict[str, Any]:
    return {
        "same": _curve(found.same),
        "shuffled": _curve(found.shuffled),
        "with_english": {name: list(each) for name, each in found.of_clothes.items()},
        "p_value": found.p_value,
    }


def _block(one: BlockFinding) -> dict[str, Any]:
    return {
        "influence": estimate_as_json(one.influence),
        "norm": estimate_as_json(one.norm),
        "added": estimate_as_json(one.added),
    }


def _lens(one: LensFinding) -> dict[str, Any]:
    return {
        "median_rank": one.median_rank,
        "probability": estimate_as_json(one.probability),
        "share_first": one.share_first,
    }


def _curve(curve: Curve) -> dict[str, list[float]]:
    return {"values": list(curve.values), "low": list(curve.low), "high": list(curve.high)}


def _bands(bands: Bands) -> dict[str, Any]:
    return {
        "middle": [bands.first, bands.end],
        "first_interval": list(bands.first_interval),
        "end_interval": list(bands.end_interval),
        "contrast": bands.contrast,
        "contrast_interval": list(bands.contrast_interval),
        "z": bands.z,
        "p_value": bands.p_value,
        "is_found": bands.is_found,
    }


def _pair(reading: PairReading) -> dict[str, Any]:
    recovery = None if reading.recovery is None else _numbers(reading.recovery.tolist())
    return {
        "clean": reading.pair.clean,
        "corrupt": reading.pair.corrupt,
        "answer": reading.pair.answer,
        "other": reading.pair.other,
        "problem": reading.problem,
        "tokens": list(reading.tokens),
        "clean_difference": reading.clean,
        "corrupt_difference": reading.corrupt,
        "recovery": recovery,
    }


def _numbers(rows: Sequence[Sequence[float]]) -> list[list[float | None]]:
    return [[each if math.isfinite(each) else None for each in row] for row in rows]


def _prediction(one: Prediction) -> dict[str, Any]:
    return {
        "probe": one.probe,
        "n_windows": one.n_windows,
        "n_held_out_items": one.n_items,
        "correlation": one.correlation,
        "interval": list(one.interval),
        "p_value": one.p_value,
        "n_placements": one.n_placements,
        "plain_correlation": one.plain,
        "is_found": one.is_found,
    }
