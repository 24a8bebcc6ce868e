"""Every window of a model from one load: what is scanned, by which probes, and what it is worth.

`windows` says which layer paths, `selection` which of them can be run, `probes/` what is measured
on each, `scan` runs them and keeps the scores, `judging` turns scores into `findings`: effects,
ranks and a verdict. Races, which leave paths out as scores come, are in `racing/`.
"""
