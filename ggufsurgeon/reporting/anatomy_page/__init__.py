"""An anatomy as one self-contained HTML file, with the maps of a scan if there is one.

`page` assembles it, `words` has the verdicts, which the terminal prints too, and `line_chart` and
`patching_map` draw. `page.css` is included after the style sheet of the scan's page.
"""
