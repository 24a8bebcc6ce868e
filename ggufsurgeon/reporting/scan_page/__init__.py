"""A scan as one HTML file that needs nothing else: maps, ranking, ablation, items of each path.

`page` puts it together and `document` surrounds it, `data` is what its script knows, `page.css` and
`page.js` are put into it.
What is drawn is SVG. Where letters stand beside it, its places are percentages, so that they keep
their size on a screen of any width.
"""
