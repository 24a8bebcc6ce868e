"""An anatomy as one HTML file that needs nothing else, with the maps of a scan where there is one.

`page` puts it together, `words` has the verdicts, which the terminal prints too, `line_chart` and
`patching_map` draw. `page.css` is put into it besides that of the scan's page.
"""
