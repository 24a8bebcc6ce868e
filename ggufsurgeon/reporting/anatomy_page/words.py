"""The findings of an anatomy in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ggufsurgeon.anatomy.bands import Bands
from ggufsurgeon.anatomy.findings import AnatomyFindings
from ggufsurgeon.anatomy.pairs import PairReading
from ggufsurgeon.anatomy.prediction import Prediction
from ggufsurgeon.reporting.lettering import MINUS, counted
from ggufsurgeon.reporting.scan_findings.words import p_text
from ggufsurgeon.statistics.maximum import LEVEL

HALF = 0.5
"""The least recovery at which a state is said to carry the answer."""


class Carriers(NamedTuple):
    """Which states carry the answer of a pair."""

    last_of_differing: int | None
    """The last block after which a token that differs recovers half; None for no block."""
    first_of_end: int | None
    """The first block from which on the last token always recovers half; None for no block."""


def content_text(found: AnatomyFindings) -> str:
    """The verdict on whether contents are similar across forms at all."""
    similar = found.similarity
    n, p = counted(similar.n_contents, "content"), p_text(similar.p_value)
    if similar.p_value > LEVEL:
        return (
            f"No common content: the {n} are not shown to be more similar across forms than "
            f"shuffled contents (p {_is(p)})."
        )
    best = int(np.argmax(similar.same.values[1:]))
    value, low, high = (getattr(similar.same, part)[best + 1] for part in ("values", "low", "high"))
    return (
        f"Common content: the {n} are more similar across forms than shuffled contents "
        f"(p {_is(p)}), most of all after block {best}: the mean cosine is {_signed(value)} "
        f"(95 % interval {_range(low, high)}); in the input of block 0 it is "
        f"{_signed(similar.same.values[0])}."
    )


def bands_text(bands: Bands | None, n_blocks: int) -> str:
    """The verdict on bands."""
    if bands is None:
        return (
            "No bands: there is no run of blocks after which contents are more similar than after "
            "the blocks on both of its sides."
        )
    middle = blocks_text(bands.first, bands.end)
    figures = (
        f"the smaller of the two differences is {_signed(bands.contrast)} (95 % interval "
        f"{_range(*bands.contrast_interval)}), p {_is(p_text(bands.p_value))}"
    )
    if not bands.is_found:
        return f"No bands are shown: the best run, {middle}, may be due to chance; {figures}."
    return (
        f"Bands: contents are more similar after {middle} than after the blocks on either side; "
        f"{figures}. The encoding band is {blocks_text(0, bands.first)}, the decoding band "
        f"{blocks_text(bands.end, n_blocks)}. By 95 % bootstrap intervals, the middle band begins "
        f"at block {_blocks(*bands.first_interval)} and the decoding band at block "
        f"{_blocks(*bands.end_interval)}."
    )


def groups_text(found: AnatomyFindings) -> str:
    """What the same rule finds in some pairs of forms alone."""
    texts = []
    for name, bands in found.bands_of_groups.items():
        if bands is None:
            texts.append(f"{name}, none")
            continue
        p = f"p {_is(p_text(bands.p_value))}"
        where = blocks_text(bands.first, bands.end) if bands.is_found else "none shown"
        texts.append(f"{name}, {where} ({p})")
    return f"The middle band by pairs of forms: {'; '.join(texts)}."


def prediction_text(found: AnatomyFindings) -> list[str]:
    """The verdict on whether the bands predict the good windows, for each probe."""
    if not found.is_scan_from_store:
        return [
            "Whether the bands predict the good windows is not known: no scan of windows is given."
        ]
    if not found.predictions:
        return [
            "Whether the bands predict the good windows is not known: the scan has too few scored "
            "windows or held-out items."
        ]
    return [_prediction(each) for each in found.predictions]


def _prediction(one: Prediction) -> str:
    verdict = "This is not shown"
    if one.is_found:
        verdict = "Yes" if one.correlation > 0 else "No, they predict the bad ones"
    least = 1 / one.n_placements
    limit = f", of which the least possible is {least:.2g}" if one.p_value < 3 * least else ""
    return (
        f"Do the bands predict the good windows of probe {one.probe}? {verdict}: the rank "
        f"correlation of similarity and held-out effect, given the length of a window, is "
        f"{_signed(one.correlation)} (95 % interval {_range(*one.interval)}), "
        f"p {_is(p_text(one.p_value))}{limit}, over {counted(one.n_windows, 'window')} and "
        f"{counted(one.n_items, 'held-out item')}. Without regard to length it is "
        f"{_signed(one.plain)}."
    )


def carriers(reading: PairReading) -> Carriers:
    """Which states carry the answer of a pair that was patched."""
    recovery = reading.recovery
    if recovery is None:
        return Carriers(None, None)
    inner = [place for place in reading.differing if place < recovery.shape[1] - 1]
    with_answer = np.flatnonzero((recovery[:, inner] >= HALF).any(axis=1))
    without = np.flatnonzero(~(recovery[:, -1] >= HALF))
    first = int(without[-1]) + 1 if len(without) else 0
    return Carriers(
        int(with_answer[-1]) if len(with_answer) else None,
        first if first < len(recovery) else None,
    )


def pair_text(reading: PairReading) -> str:
    """What activation patching found for a pair."""
    if reading.problem:
        return f"left out: {reading.problem}"
    found = carriers(reading)
    places = []
    if found.last_of_differing is not None:
        places.append(f"the tokens that differ up to block {found.last_of_differing}")
    if found.first_of_end is not None:
        places.append(f"the last token from block {found.first_of_end} on")
    logits = (
        f"logit difference {_signed(reading.clean)} nats after the clean prompt, "
        f"{_signed(reading.corrupt)} after the corrupt one"
    )
    return f"{logits}; the answer is in {' and in '.join(places)}" if places else logits


def patching_text(found: AnatomyFindings) -> str:
    """How many pairs were patched, and from which block on the last token carries the answer."""
    used = [reading for reading in found.pairs if not reading.problem]
    if not found.pairs:
        return ""
    text = f"Activation patching: {len(used)} of {counted(len(found.pairs), 'pair')} could be used."
    moves = [place for reading in used if (place := carriers(reading).first_of_end) is not None]
    if moves:
        text += (
            f" From block {int(np.median(moves))} on (median of {counted(len(moves), 'pair')}, "
            f"range {min(moves)} to {max(moves)}), the state of the last token alone restores at "
            f"least half of the logit difference."
        )
    return text


def lens_text(found: AnatomyFindings) -> str:
    """From which block on the head would choose the token that the whole model chooses."""
    others = [block for block, each in enumerate(found.lens) if each.median_rank > 1]
    if not found.lens:
        return ""
    first = others[-1] + 1 if others else 0
    return (
        "Logit lens: the token that the whole model finds most likely has median rank 1 from "
        f"block {first} on."
    )


def verdicts(found: AnatomyFindings) -> list[str]:
    """All conclusions, each in one to three sentences."""
    texts = [
        content_text(found),
        bands_text(found.bands, found.n_blocks),
        groups_text(found),
        *prediction_text(found),
        lens_text(found),
        patching_text(found),
    ]
    return [text for text in texts if text]


def blocks_text(first: int, end: int) -> str:
    """The blocks of a band, such as `blocks 3 to 7`."""
    return f"block {first}" if end == first + 1 else f"blocks {first} to {end - 1}"


def _blocks(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _is(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


def _range(low: float, high: float) -> str:
    return f"{_signed(low)} to {_signed(high)}"
