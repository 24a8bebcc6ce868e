"""The document around a page: its style and script, and a policy that lets nothing else in."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from ggufsurgeon.reporting.scan_findings.diverging import step_colours
from ggufsurgeon.reporting.scan_page.data import scan_data
from ggufsurgeon.reporting.scan_page.legend import PATTERNS, step_class
from ggufsurgeon.reporting.scan_page.markup import element, escape
from ggufsurgeon.scanning.verdicts.findings import ScanFindings

LIGHT = ("#D55E00", "#F0F0EE", "#0072B2")
"""The worst colour, that around 0, and the best, as in the pictures."""
DARK = ("#F08A3C", "#33373C", "#45A5E6")
"""The same hues, on a dark ground."""


def document(title: str, content: str, findings: ScanFindings | None, more_style: str = "") -> str:
    """One HTML file that loads nothing from anywhere, around the markup `content`.

    The sections of a scan in it are run by the scan's script, which has `findings` as its data;
    without findings there is no script. The same text for the same arguments. It can be encoded in
    UTF-8, whatever the names hold.
    """
    script, scripts = "", ""
    if findings is not None:
        script, data = _packaged("page.js"), scan_data(findings)
        scripts = element("script", data, type="application/json", id="scan-data")
        scripts += element("script", script)
    body = element("body", PATTERNS, content, scripts)
    page = element("html", _head(title, script, more_style), body, lang="en")
    return f"<!DOCTYPE html>\n{page}\n".encode("utf-8", "backslashreplace").decode("utf-8")


def _head(title: str, script: str, more_style: str) -> str:
    digest = b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = f"'sha256-{digest}'" if script else "'none'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    style = _packaged("page.css") + more_style + _colour_rules(LIGHT)
    style += f"@media (prefers-color-scheme: dark) {{\n{_colour_rules(DARK)}}}\n"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", escape(title)),
        element("style", style),
    )


def _colour_rules(colours: tuple[str, str, str]) -> str:
    steps = step_colours(*colours).items()
    return "".join(f".{step_class(step)} {{ fill: {colour}; }}\n" for step, colour in steps)


def _packaged(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
