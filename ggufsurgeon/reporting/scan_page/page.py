"""The page of a scan: a section for each probe, how to read it, and how the page was made."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_findings.diverging import step_colours
from ggufsurgeon.reporting.scan_page.data import scan_data
from ggufsurgeon.reporting.scan_page.legend import PATTERNS, step_class
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.scan_page.section import COPY, section, section_id
from ggufsurgeon.scanning.findings import ScanFindings

LIGHT = ("#D55E00", "#F0F0EE", "#0072B2")
"""The worst colour, that around 0, and the best, as in the pictures."""
DARK = ("#F08A3C", "#33373C", "#45A5E6")
"""The same hues, on a dark ground."""
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


def scan_page(findings: ScanFindings, command: str) -> str:
    """One HTML file that loads nothing from anywhere; `command` is how the page is made.

    The same text for the same arguments. It can be encoded in UTF-8, whatever the names hold.
    """
    script = _packaged("page.js")
    body = element(
        "body",
        PATTERNS,
        _header(findings),
        element("main", *[section(findings, k) for k in range(len(findings.probes))]),
        _footer(command),
        element("script", scan_data(findings), type="application/json", id="scan-data"),
        element("script", script),
    )
    page = element("html", _head(findings, script), body, lang="en")
    return f"<!DOCTYPE html>\n{page}\n".encode("utf-8", "backslashreplace").decode("utf-8")


def _head(findings: ScanFindings, script: str) -> str:
    digest = b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    style = _packaged("page.css") + _colour_rules(LIGHT)
    style += f"@media (prefers-color-scheme: dark) {{\n{_colour_rules(DARK)}}}\n"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", escape(f"Scan of {findings.model}")),
        element("style", style),
    )


def _colour_rules(colours: tuple[str, str, str]) -> str:
    steps = step_colours(*colours).items()
    return "".join(f".{step_class(step)} {{ fill: {colour}; }}\n" for step, colour in steps)


def _packaged(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _header(findings: ScanFindings) -> str:
    facts = f"{findings.architecture}, {counted(findings.n_blocks, 'block')}"
    links = [
        element("a", escape(probe.probe), href=f"#{section_id(k)}")
        for k, probe in enumerate(findings.probes)
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
