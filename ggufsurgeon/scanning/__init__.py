"""Every window of a model from one load: what is scanned, by which probes, and what it is worth.

`windows` says which layer paths, `probe` what is measured on each, `scan` runs and keeps the scores,
`findings` turns them into effects, ranks and a verdict.
"""
