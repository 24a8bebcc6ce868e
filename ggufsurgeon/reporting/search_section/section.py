"""The section of a search: verdict, chart, and a table of the best path of each length."""

from __future__ import annotations

import math

from ggufsurgeon.reporting.lettering import counted, signed
from ggufsurgeon.reporting.scan_findings.words import (
    bytes_more,
    count_text,
    estimate_text,
    luck_text,
    p_text,
)
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.search_section.chart import search_chart
from ggufsurgeon.scanning.search.findings import BestOfLength, SearchFindings

COLUMNS = (
    *("blocks", "layer path", "score", "search", "held out", "p"),
    *("weights", "KV cache", "speed"),
)


def search_section(found: SearchFindings, number: int) -> str:
    """All of a search; `number` tells it from others on the page."""
    name = f"search-{number}"
    side = "is-better" if found.is_better else "is-open"
    parts = [
        element("h2", escape(found.probe), id=f"{name}-title"),
        element("p", escape(found.verdict), class_=f"verdict {side}"),
        element("p", escape(_counts(found)), class_="facts"),
    ]
    if found.tried:
        parts += [
            element("h3", "Score against added blocks"),
            element("p", escape(_note(found)), class_="note"),
            search_chart(found),
            _table(found),
        ]
    return element("section", *parts, id=name, aria_labelledby=f"{name}-title")


def _counts(found: SearchFindings) -> str:
    limits = found.limits
    return (
        f"{counted(len(found.tried), 'path')} run, with at most {limits.max_blocks} added blocks, "
        f"combined from {found.n_singles} of {counted(found.n_scanned, 'window')} of the scan; the "
        f"{limits.beam} best of each step extended; {found.n_search} search and "
        f"{found.n_held_out} held-out items; scores in {found.unit}"
    )


def _note(found: SearchFindings) -> str:
    parts = [
        "● score on the search items, the mean difference from the unmodified model less its "
        "standard error; large: the best of its length. □ mean ± 2 standard errors on the held-out "
        "items, which the search did not use: quote these."
    ]
    if found.luck is not None:
        parts.append(
            f"Dashed: by chance alone, the best path of such a search has a score above "
            f"{signed(found.luck.score)} in 5 % of searches (p = {p_text(found.luck.p_value)} for "
            f"the best score here, by {found.luck.n_replays} replays on random signs)."
        )
    if math.isfinite(found.held_out_luck_z):
        parts.append(
            f"On the held-out items the best of these paths exceeds "
            f"{luck_text(found.held_out_luck_z)} standard errors by chance in 5 % of searches; p "
            "is family-wise over them. Speed: tokens per second of generation as a multiple of the "
            "model's, predicted from the weights that a token is multiplied by."
        )
    return " ".join(parts)


def _table(found: SearchFindings) -> str:
    head = element("tr", *[element("th", escape(name), scope="col") for name in COLUMNS])
    rows = [element("tr", *_cells(best)) for best in found.best]
    table = element("table", element("thead", head), element("tbody", *rows))
    return element(
        "div", table, class_="scroll", tabindex=0, role="region", aria_label="best paths"
    )


def _cells(best: BestOfLength) -> list[str]:
    path = best.path
    texts = (
        f"{count_text(path.cost.n_blocks)}{' ★' if best.is_on_front else ''}",
        path.layer_path,
        signed(path.score),
        estimate_text(path.search),
        estimate_text(best.held_out),
        p_text(best.p_value),
        bytes_more(path.cost.n_bytes_weights),
        bytes_more(path.cost.n_bytes_kv),
        f"{path.relative_speed:.2f}",
    )
    return [element("td", escape(text)) for text in texts]
