"""Every window of a model from one load: which layer paths, which probes, and what the scores show.

`windows` says which layer paths, `selection` which of them can be run, `probes/` what is measured
on each. `scan` runs them by the jobs of `jobs/` and keeps the scores; `verdicts/` turns scores into
findings: effects, ranks and a verdict. Races, which leave paths out as scores come, are in
`racing/`, and searches for paths of several windows in `search/`.
"""
