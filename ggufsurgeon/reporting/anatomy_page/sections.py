"""The sections of the page that do not depend on a scan."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.anatomy.findings import AnatomyFindings
from ggufsurgeon.anatomy.pairs import PairReading
from ggufsurgeon.reporting.anatomy_page.line_chart import Line, line_chart
from ggufsurgeon.reporting.anatomy_page.patching_map import patching_map
from ggufsurgeon.reporting.anatomy_page.words import pair_text
from ggufsurgeon.reporting.scan_page.markup import element, escape

COLUMNS = (
    *("block", "influence", "norm after it", "norm of what it adds", "same content"),
    *("median rank", "probability", "ranked first"),
)


def similarity_section(found: AnatomyFindings) -> str:
    """How similar contents are across forms."""
    similar, bands = found.similarity, found.bands
    shade = (bands.first, bands.end) if bands is not None and bands.is_found else None
    main = [
        Line("same content", similar.same.values, -1, (similar.same.low, similar.same.high)),
        Line(
            "shuffled contents",
            similar.shuffled.values,
            -1,
            (similar.shuffled.low, similar.shuffled.high),
        ),
    ]
    others = [Line(f"English and {name}", each, -1) for name, each in similar.of_clothes.items()]
    note = (
        "Mean cosine of centred states, with 95 % intervals. The first value is that of the input "
        "of block 0. A significant middle band is shaded."
    )
    return _section(
        "similarity",
        "The same content in different forms",
        line_chart(main, found.n_blocks, "similarity of contents", shade),
        element("p", escape(note), class_="note"),
        element("h3", "English with each other form: mean cosine minus that of other contents"),
        line_chart(others, found.n_blocks, "similarity with English", shade),
    )


def blocks_section(found: AnatomyFindings) -> str:
    """What each block does: influence, norms, and the logit lens after it."""
    influence = [block.influence.value for block in found.blocks]
    errors = [2 * (block.influence.error or 0.0) for block in found.blocks]
    low = [value - error for value, error in zip(influence, errors, strict=True)]
    high = [value + error for value, error in zip(influence, errors, strict=True)]
    parts = [
        element("h3", "Influence: 1 - cosine of what enters and leaves a block"),
        line_chart([Line("influence", influence, 0, (low, high))], found.n_blocks, "influence"),
        element("h3", "Euclidean norms of the residual stream"),
        line_chart(
            [
                Line("after the block", [block.norm.value for block in found.blocks]),
                Line("of what the block adds", [block.added.value for block in found.blocks]),
            ],
            found.n_blocks,
            "norms",
        ),
    ]
    if found.lens:
        lines = [
            Line("mean probability", [each.probability.value for each in found.lens]),
            Line("share ranked first", [each.share_first for each in found.lens]),
        ]
        heading = "Logit lens: the token that the whole model finds most likely, after each block"
        parts.append(element("h3", heading))
        parts.append(line_chart(lines, found.n_blocks, "logit lens"))
    parts.append(_table(found))
    return _section("blocks", "What each block does", *parts)


def _table(found: AnatomyFindings) -> str:
    head = element("tr", *[element("th", escape(name), scope="col") for name in COLUMNS])
    rows = [element("tr", *_cells(found, block)) for block in range(found.n_blocks)]
    table = element("table", element("thead", head), element("tbody", *rows), class_="figures")
    box = element(
        "div", table, class_="scroll", tabindex=0, role="region", aria_label="figures of blocks"
    )
    return element("details", element("summary", "Figures of all blocks"), box)


def _cells(found: AnatomyFindings, block: int) -> list[str]:
    one = found.blocks[block]
    figures = [
        str(block),
        f"{one.influence.value:.4f}",
        f"{one.norm.value:.4g}",
        f"{one.added.value:.4g}",
        f"{found.similarity.same.values[block + 1]:.4f}",
    ]
    if found.lens:
        lens = found.lens[block]
        figures += [
            f"{lens.median_rank:g}",
            f"{lens.probability.value:.4f}",
            f"{lens.share_first:.2f}",
        ]
    else:
        figures += [""] * 3
    return [element("td", escape(figure)) for figure in figures]


def patching_section(pairs: Sequence[PairReading]) -> str:
    """The maps of all pairs that could be used, and why others could not; empty without pairs."""
    if not pairs:
        return ""
    used = [reading for reading in pairs if not reading.problem]
    note = (
        "Recovery of the logit difference when the state of the clean prompt replaces that of the "
        "corrupt one after one block at one token. Grey is 0 (no effect), the end of the scale is "
        "1 (the clean prompt's difference)."
    )
    maps = [
        element(
            "figure",
            element("h3", escape(f"{reading.pair.clean} ({reading.pair.answer.strip()})")),
            element("p", escape(_against(reading)), class_="facts"),
            patching_map(reading),
        )
        for reading in used
    ]
    left = [
        element("li", escape(f"{reading.pair.clean}: {pair_text(reading)}"))
        for reading in pairs
        if reading.problem
    ]
    return _section(
        "patching",
        "Activation patching",
        element("p", escape(note), class_="note"),
        element("div", *maps, class_="pairs"),
        element("ul", *left, class_="facts") if left else "",
    )


def _against(reading: PairReading) -> str:
    corrupt = f"Corrupt: {reading.pair.corrupt} ({reading.pair.other.strip()})"
    return f"{corrupt}. {pair_text(reading)}."


def _section(name: str, heading: str, *parts: str) -> str:
    title = element("h2", escape(heading), id=f"{name}-title")
    return element("section", title, *parts, id=name, aria_labelledby=f"{name}-title")
