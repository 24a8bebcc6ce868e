"""The page of an anatomy: verdicts, charts, maps of activation patching, sections of a scan."""

from __future__ import annotations

from importlib.resources import files

from ggufsurgeon.anatomy.contents import CLOTHES
from ggufsurgeon.anatomy.findings import AnatomyFindings
from ggufsurgeon.reporting.anatomy_page.sections import (
    blocks_section,
    patching_section,
    similarity_section,
)
from ggufsurgeon.reporting.anatomy_page.words import verdicts
from ggufsurgeon.reporting.lettering import counted
from ggufsurgeon.reporting.scan_page.document import document
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.reporting.scan_page.section import section

HOW_TO_READ = (
    "The state of a text is the mean of the residual stream over its tokens, except the first. The "
    "mean over all contents in the same form is subtracted from it; then states are compared by "
    "their cosine. The control is the same with the contents of each form shuffled.",
    "Figures of single blocks are for the texts in plain English, without their first tokens. The "
    "logit lens reads the state after a block with the model's own output head; blocks in the "
    "middle were not trained to be read by it.",
    "If the state after a block carries an answer, it need not be that block that computes it.",
)


def anatomy_page(found: AnatomyFindings, command: str) -> str:
    """The text of one HTML file that loads nothing; `command` is shown as the way to make it.

    It is the same text for the same arguments.
    """
    scan = found.scan
    parts = [
        similarity_section(found),
        blocks_section(found),
        patching_section(found.pairs),
        *([section(scan, k) for k in range(len(scan.probes))] if scan is not None else []),
    ]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    content = _header(found) + element("main", *parts) + _footer(command)
    return document(f"Anatomy of {found.model}", content, scan, style)


def _header(found: AnatomyFindings) -> str:
    name = element("span", escape(found.model), class_="model")
    n_contents = counted(len(found.contents), "content")
    facts = (
        f"{found.architecture}, {counted(found.n_blocks, 'block')}; {n_contents} in "
        f"{counted(len(CLOTHES), 'form')}: {', '.join(CLOTHES)}"
    )
    return element(
        "header",
        element("h1", "Anatomy of ", name),
        element("p", escape(facts), class_="facts"),
        element(
            "ul", *[element("li", escape(text)) for text in verdicts(found)], class_="verdicts"
        ),
        *[element("p", escape(note), class_="note") for note in found.notes],
    )


def _footer(command: str) -> str:
    return element(
        "footer",
        element("h2", "How to read this page"),
        *[element("p", escape(text)) for text in HOW_TO_READ],
        element("h2", "How this page was made"),
        element("div", element("code", escape(command)), class_="command"),
    )
