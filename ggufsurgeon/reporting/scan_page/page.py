"""The page of a scan: a section for each probe, how to read it, and how the page was made."""

from __future__ import annotations

from collections.abc import Sequence

from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_page.document import document
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.scan_page.section import COPY, section, section_id
from ggufsurgeon.reporting.search_section.section import search_section
from ggufsurgeon.scanning.search.findings import SearchFindings
from ggufsurgeon.scanning.verdicts.findings import ScanFindings

HOW_TO_READ = (
    "A difference is the mean over items of the score along the path less that of the unmodified "
    "model: above 0 the path is better. The standard error is over items.",
    "Paths are ranked by the search items. The best of many paths was selected for a high score, "
    "so its search figure is too high on average. The held-out items had no part in the selection: "
    "quote the held-out figure of the best path.",
    "A p-value is family-wise: the probability that, if no path had an effect, the best of all "
    "paths of this scan would be at least as many standard errors above 0 over all items. Below "
    "0.05, chance is an unlikely explanation. It says nothing about other texts and tasks.",
)


def scan_page(findings: ScanFindings, command: str, searches: Sequence[SearchFindings] = ()) -> str:
    """One HTML file that loads nothing from anywhere; `command` is how the page is made.

    `searches` are those from the scans.

    The same text for the same arguments. It can be encoded in UTF-8, whatever the names hold.
    """
    sections = [section(findings, k) for k in range(len(findings.probes))]
    sections += [search_section(found, k) for k, found in enumerate(searches)]
    return document(
        f"Scan of {findings.model}",
        _header(findings, searches) + element("main", *sections) + _footer(command),
        findings,
    )


def _header(findings: ScanFindings, searches: Sequence[SearchFindings]) -> str:
    facts = f"{findings.architecture}, {counted(findings.n_blocks, 'block')}"
    links = [
        element("a", escape(probe.probe), href=f"#{section_id(k)}")
        for k, probe in enumerate(findings.probes)
    ]
    links += [
        element("a", escape(found.probe), href=f"#search-{k}") for k, found in enumerate(searches)
    ]
    parts = [element("h1", "Scan of ", element("span", escape(findings.model), class_="model"))]
    parts.append(element("p", escape(facts), class_="facts"))
    parts.append(element("noscript", "Figures and items of a cell are shown by JavaScript."))
    if len(links) > 1:
        parts.append(element("nav", *links, aria_label="probes"))
    if not links:
        parts.append(element("p", "Nothing has been scanned yet."))
    return element("header", *parts)


def _footer(command: str) -> str:
    paragraphs = [element("p", escape(text)) for text in HOW_TO_READ]
    run = element("div", element("code", escape(command)), COPY, class_="command")
    return element(
        "footer",
        element("h2", "How to read this page"),
        *paragraphs,
        element("h2", "How this page was made"),
        run,
    )
